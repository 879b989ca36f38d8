"""Where a Python process spends its time: put on PYTHONPATH by `--profile`, it samples all threads now and then and
leaves collapsed stacks (outermost first, with counts) in $VNFM_BENCH_SAMPLES/PID.txt every second."""

import collections
import os
import sys
import threading
import time

EVERY_S = 0.005


def _frames(frame):
    names = []
    while frame is not None:
        code = frame.f_code
        folder, _, file = code.co_filename.rpartition("/")
        names.append(f"{folder.rpartition('/')[2]}/{file.removesuffix('.py')}.{code.co_name}")
        frame = frame.f_back
    return tuple(reversed(names))


def _busy_threads(last):
    """Ids of threads that used the processor since the last look."""
    busy = set()
    for name in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{name}/schedstat") as stream:
                spent = int(stream.read().split()[0])
        except (OSError, ValueError):
            continue
        if spent - last.get(name, spent) > 500_000:
            busy.add(int(name))
        last[name] = spent
    return busy


def _sample(folder):
    counts, last, own, written = collections.Counter(), {}, threading.get_native_id(), time.monotonic()
    while True:
        time.sleep(EVERY_S)
        busy = _busy_threads(last) - {own}
        natives = {t.ident: t.native_id for t in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            if natives.get(ident) in busy:
                counts[_frames(frame)] += 1
        if time.monotonic() - written > 1:
            written = time.monotonic()
            with open(f"{folder}/{os.getpid()}.txt", "w") as stream:
                stream.writelines(f"{n} {';'.join(stack)}\n" for stack, n in counts.most_common())


if _folder := os.environ.get("VNFM_BENCH_SAMPLES"):
    sys.setswitchinterval(0.0005)  # a thread is seen where it is, not where it lets go
    threading.Thread(target=_sample, args=(_folder,), daemon=True).start()

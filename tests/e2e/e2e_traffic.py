"""Traffic between a chain's ends that runs while something happens to the chain, and what became of it.

The programs run in the ends' network namespaces directly, not through the manager: they live on when it is killed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from e2e_host import wait_until

from plugins.local.net import naming

# Echo requests on a schedule, until stdin ends; then, after a little while for the last answers, a report as JSON.
PINGER = """
import json, os, select, socket, struct, sys, time
host, rate, tos = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
s.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)  # SO_RCVBUFFORCE
s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
s.connect((host, 0))
s.setblocking(False)
ident = os.getpid() & 0xFFFF
def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
def packet(number):
    body = struct.pack("!I", number) + bytes(40)
    head = struct.pack("!BBHHH", 8, 0, 0, ident, number & 0xFFFF)
    return struct.pack("!BBHHH", 8, 0, checksum(head + body), ident, number & 0xFFFF) + body
answers, failures, doubled, sent = {}, 0, 0, 0
begun = time.monotonic()
stop_at = None
print("pinging", flush=True)
while True:
    now = time.monotonic()
    while stop_at is None and sent < (now - begun) * rate:
        try:
            s.send(packet(sent))
        except OSError:
            failures += 1
        sent += 1
    due = begun + sent / rate if stop_at is None else stop_at
    readers = [s] if stop_at else [s, sys.stdin]
    ready = select.select(readers, [], [], max(0.0, due - time.monotonic()))[0]
    if s in ready:
        with_more = True
        while with_more:
            try:
                data = s.recv(2048)
            except OSError:
                break
            icmp = data[(data[0] & 15) * 4:]
            if icmp[0] == 0 and icmp[4:6] == struct.pack("!H", ident):
                number = struct.unpack("!I", icmp[8:12])[0]
                doubled += number in answers
                answers.setdefault(number, time.monotonic())
    if sys.stdin in ready:
        line = sys.stdin.readline()
        if not line:
            ended = time.monotonic()
            stop_at = ended + 2.0
        else:
            print(json.dumps({"answered": len(answers), "sent": sent}), flush=True)
    if stop_at and (time.monotonic() > stop_at or len(answers) == sent):
        break
times = sorted(answers.values())
gaps = [b - a for a, b in zip(times, times[1:])]
lost = [n for n in range(sent) if n not in answers]
print(json.dumps({
    "sent": sent, "lost": lost[:200], "lost_count": len(lost), "doubled": doubled, "failures": failures,
    "rate": sent / (ended - begun), "longest_gap_s": max(gaps, default=0.0),
}), flush=True)
"""
# Answers each message on each connection with the same message.
ECHO = """
import asyncio, sys
async def serve(reader, writer):
    try:
        while data := await reader.readexactly(64):
            writer.write(data)
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
async def main():
    servers = [await asyncio.start_server(serve, "0.0.0.0", int(p), backlog=512) for p in sys.argv[1:]]
    print("listening", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
# Long-lived connections, each with a message under way all the time; a line "more N" on stdin opens N further ones.
STREAMS = """
import asyncio, json, sys, time
host, port, every = sys.argv[1], int(sys.argv[2]), 0.05
broken, stalls, counts, stop = [], [], [], asyncio.Event()
async def stream(opened):
    name = len(counts)
    stalls.append(0.0)
    counts.append(0)
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 20)
        opened.set()
        while not stop.is_set():
            message = b"%-63d\\n" % counts[name]
            begun = time.monotonic()
            writer.write(message)
            if await asyncio.wait_for(reader.readexactly(64), 30) != message:
                raise OSError("another answer than what was asked")
            stalls[name] = max(stalls[name], time.monotonic() - begun)
            counts[name] += 1
            await asyncio.sleep(every)
        writer.close()
    except Exception as error:
        broken.append(f"{name} after {counts[name]} messages: {error!r}")
        opened.set()
async def main():
    tasks = []
    async def more(count):
        events = [asyncio.Event() for _ in range(count)]
        tasks.extend([asyncio.create_task(stream(e)) for e in events])
        await asyncio.gather(*(e.wait() for e in events))
        print(json.dumps({"open": len(tasks) - len(broken), "broken": broken}), flush=True)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        word, _, number = line.decode().partition(" ")
        await more(int(number or 0))
    stop.set()
    await asyncio.gather(*tasks)
    print(json.dumps({"streams": len(tasks), "broken": broken, "messages": sum(counts),
                      "fewest": min(counts, default=0), "longest_stall_s": max(stalls, default=0.0)}), flush=True)
asyncio.run(main())
"""


@dataclass(frozen=True)
class PingReport:
    """What became of the pings."""

    sent: int
    lost: tuple[int, ...]  # the first of them by number
    lost_count: int
    doubled: int
    rate: float
    longest_gap_s: float

    def assert_none_lost(self, at_least_per_second: float = 500) -> None:
        """As many as were meant, and each answered."""
        assert self.rate >= at_least_per_second, self
        assert self.lost_count == 0, f"{self.lost_count} of {self.sent} pings were lost: {self.lost}"


class _Program:
    """A Python program in a network namespace, with its lines."""

    def __init__(self, namespace: str, code: str, *args: str) -> None:
        argv = ["ip", "netns", "exec", namespace, sys.executable, "-I", "-u", "-c", code, *args]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())

    def expect(self, count: int, timeout_s: float) -> str:
        """The line of that number, counted from 1."""
        wait_until(lambda: len(self.lines) >= count or self.process.poll() is not None, timeout_s, every_s=0.01)
        if len(self.lines) < count:
            self._reader.join(1)
        assert len(self.lines) >= count, f"{self.lines} {self._last_words()}"
        return self.lines[count - 1]

    def ask(self, line: str, timeout_s: float) -> str:
        """The answer to a line."""
        assert self.process.stdin is not None
        count = len(self.lines)
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.expect(count + 1, timeout_s)

    def end(self, timeout_s: float) -> str:
        """Close its stdin; its last line."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout_s)
        finally:
            self.kill()
        self._reader.join(5)
        assert self.process.returncode == 0, self._last_words()
        return self.lines[-1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _last_words(self) -> str:
        if self.process.poll() is None or self.process.stderr is None:
            return "(it still runs)"
        return self.process.stderr.read()[-2000:]


class Pings:
    """Pings from one end to another as a context; `report` is there afterwards, or after `stop`."""

    def __init__(self, chain: dict[str, Any], per_second: float = 520, tos: int = 0, host: str = "") -> None:
        self._program = _Program(
            end_namespace(chain, "client"), PINGER, host or address(chain, "server"), str(per_second), str(tos)
        )
        self._report: PingReport | None = None

    def __enter__(self) -> Self:
        self._program.expect(1, 20)
        self.flow()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.stop()
        self._program.kill()

    def answered(self) -> int:
        """How many were answered so far."""
        return int(json.loads(self._program.ask("?", 10))["answered"])

    def flow(self, count: int = 100, timeout_s: float = 30) -> None:
        """Wait until so many more are answered; AssertionError where they are not."""
        wanted = self.answered() + count
        assert wait_until(lambda: self.answered() >= wanted, timeout_s), "no ping comes back (any more)"

    def stop(self) -> PingReport:
        """No further ping; what became of all of them."""
        if self._report is None:
            found = json.loads(self._program.end(15))
            self._report = PingReport(
                found["sent"],
                tuple(found["lost"]),
                found["lost_count"],
                found["doubled"],
                found["rate"],
                found["longest_gap_s"],
            )
        return self._report

    @property
    def report(self) -> PingReport:
        """What became of them."""
        return self.stop()


class Streams:
    """TCP connections from the client's end to the server's that go on and on, as a context."""

    def __init__(self, chain: dict[str, Any], count: int = 8, port: int = 8080) -> None:
        self._echo = _Program(end_namespace(chain, "server"), ECHO, str(port))
        self._echo.expect(1, 20)
        self._program = _Program(end_namespace(chain, "client"), STREAMS, address(chain, "server"), str(port))
        self._count = count
        self.report: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            self.more(self._count)
        except BaseException:
            self._kill()
            raise
        return self

    def more(self, count: int) -> None:
        """Open so many further ones."""
        found = json.loads(self._program.ask(f"more {count}", 60))
        assert not found["broken"], found

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self.report = json.loads(self._program.end(45))
        finally:
            self._kill()

    def _kill(self) -> None:
        for program in (self._program, self._echo):
            with suppress(OSError):
                program.kill()

    def assert_none_broke(self) -> None:
        """Every connection lived to its end and was used."""
        assert self.report["broken"] == [], self.report
        assert self.report["fewest"] > 0, self.report


def end_namespace(chain: dict[str, Any], name: str) -> str:
    """The network namespace of one of the chain's ends."""
    return naming.namespace_name(next(e["resource_id"] for e in chain["ends"] if e["name"] == name))


def address(chain: dict[str, Any], name: str) -> str:
    """The address of one of the chain's ends."""
    return str(next(e["address"] for e in chain["ends"] if e["name"] == name)).partition("/")[0]

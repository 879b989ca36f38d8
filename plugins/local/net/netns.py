"""Network namespaces by name under /run/netns, as `ip netns` keeps them.

A namespace is entered only by throw-away threads: no thread of the caller ever changes its own.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from plugins.local.net import rtnl
from plugins.local.net.errors import HostRefusedError, NotThereError
from plugins.local.net.netlink import RouteSocket

ROOT = Path("/run/netns")
_NEWNET = 0x40000000
_BIND, _REC, _SHARED, _DETACH = 4096, 16384, 1 << 20, 2
_root_lock = threading.Lock()
_libc = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


def _checked(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _mount(source: str, target: str, flags: int) -> None:
    _checked(_libc.mount(source.encode(), target.encode(), b"none", flags, None), f"mount {target}")


def path(name: str) -> Path:
    """Where the namespace is kept."""
    return ROOT / name


def _nsfs_device() -> int:
    return os.stat("/proc/self/ns/net").st_dev


def exists(name: str) -> bool:
    """Whether a namespace is kept under the name (a bare file, left by a crash, is none)."""
    try:
        return os.stat(path(name)).st_dev == _nsfs_device()
    except FileNotFoundError:
        return False


def open_fd(name: str) -> int:
    """A descriptor of the namespace, for the caller to close; NotThereError where there is none."""
    missing = f"namespace {name} is not there: allocate what it belongs to first"
    try:
        descriptor = os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotThereError(missing) from error
    # Asked of what was opened, not of the name: another call may just be making or removing it.
    if os.fstat(descriptor).st_dev != _nsfs_device():
        os.close(descriptor)
        raise NotThereError(missing)
    return descriptor


def _in_thread(work: Callable[[], T]) -> T:
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread and raised there
            errors.append(error)

    thread = threading.Thread(target=run, name="netns", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def inside(name: str, work: Callable[[], T]) -> T:
    """The result of `work` run by a throw-away thread inside the namespace."""
    descriptor = open_fd(name)

    def enter() -> T:
        _checked(_libc.setns(descriptor, _NEWNET), f"enter namespace {name}")
        return work()

    try:
        return _in_thread(enter)
    finally:
        os.close(descriptor)


def route_socket(name: str) -> RouteSocket:
    """A route netlink socket of the namespace, usable from any thread."""
    return inside(name, RouteSocket)


def _is_shared_mount() -> bool:
    with open("/proc/self/mountinfo") as lines:
        return any(fields[4] == str(ROOT) and "shared:" in line for line in lines if len(fields := line.split()) > 4)


def _ensure_root() -> None:
    """Make /run/netns a shared mount, as `ip netns add` does: other mount namespaces then see what comes and goes."""
    with _root_lock:
        ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
        if _is_shared_mount():
            return
        try:
            _mount("", str(ROOT), _SHARED | _REC)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            _mount(str(ROOT), str(ROOT), _BIND | _REC)
            _mount("", str(ROOT), _SHARED | _REC)


def ensure(name: str, prepare: Callable[[], None] | None = None) -> bool:
    """Create the namespace with its loopback up unless it is there; whether it was created.

    `prepare` runs inside before the namespace gets its name: what has the name is prepared.
    """
    if exists(name):
        return False
    target = path(name)

    def create() -> None:
        _checked(_libc.unshare(_NEWNET), "new network namespace")
        with RouteSocket() as route:
            route.send([rtnl.set_up(index=1)])
        if prepare:
            prepare()
        _mount("/proc/thread-self/ns/net", str(target), _BIND)

    try:
        _ensure_root()
        os.close(os.open(target, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o444))
        _in_thread(create)
    except OSError as error:
        raise HostRefusedError(f"namespace {name}: {error.strerror}") from error
    return True


def remove(name: str) -> None:
    """Take the name away; the kernel frees the namespace with its last process and socket. No such name is fine."""
    target = str(path(name))
    while _libc.umount2(target.encode(), _DETACH) == 0:
        pass
    try:
        os.unlink(target)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostRefusedError(f"namespace {name} cannot be removed: {error.strerror}") from error


def write_sysctl(key: str, value: str) -> None:
    """Set a kernel parameter of the calling thread's namespace; one that this kernel lacks is passed over."""
    try:
        Path("/proc/sys", *key.split("/")).write_text(value)
    except FileNotFoundError:
        return

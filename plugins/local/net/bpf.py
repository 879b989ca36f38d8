"""A program of a few instructions beside a device's way out: it sends all to another device, or lets it pass.

Attached by tcx (Linux 6.6), which needs no queueing discipline: adding or removing one of these to a device in use
loses what is sent meanwhile. Attaching takes the kernel a while; turning the program, which is a number in memory that
it reads, takes none. It stays with the device, whatever becomes of the process that attached it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_SYSCALLS = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _MAP_LOOKUP, _MAP_UPDATE, _LOAD, _ATTACH, _DETACH = 0, 1, 2, 5, 8, 9
_PROGRAM_BY_ID, _MAP_BY_ID, _INFO, _QUERY = 13, 14, 15, 16
_ARRAY, _SCHED_CLS, _TCX_EGRESS = 2, 3, 47
_LICENSE = b"GPL\0"
_NAME = b"vnfm_way_out"
_ATTRIBUTE_BYTES = 144
_INFO_BYTES, _INFO_MAPS, _INFO_NAME = 256, 52, 64
_PROGRAMS_MAX = 64
_REDIRECT, _MAP_VALUE, _NEXT = 23, 2, -1
_libc = ctypes.CDLL(None, use_errno=True)


class TcxUnavailable(Exception):
    """This kernel, or what it allows this process, has no tcx."""


def _bpf(command: int, attribute: bytes | ctypes.Array[ctypes.c_char]) -> int:
    number = _SYSCALLS.get(platform.machine())
    if number is None:
        raise TcxUnavailable
    given = attribute
    if isinstance(attribute, bytes):
        given = ctypes.create_string_buffer(attribute.ljust(_ATTRIBUTE_BYTES, b"\0"), _ATTRIBUTE_BYTES)
    result = int(_libc.syscall(number, command, given, _ATTRIBUTE_BYTES))
    if result < 0:
        code = ctypes.get_errno()
        if code in (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP):
            raise TcxUnavailable
        raise OSError(code, os.strerror(code))
    return result


def _instruction(code: int, registers: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("=BBhi", code, registers, offset, immediate)


def _code(map_descriptor: int) -> bytes:
    return b"".join(
        (
            _instruction(0x18, 3 | _MAP_VALUE << 4, 0, map_descriptor) + _instruction(0),  # r3 = where the number is
            _instruction(0x61, 1 | 3 << 4),  # r1 = the number: the index of a device
            _instruction(0x55, 1, 2, 0),  # unless it is 0, pass over the next two
            _instruction(0xB7, 0, 0, _NEXT),  # r0 = as if there were no such program
            _instruction(0x95),  # exit
            _instruction(0xB7, 2),  # r2 = 0: out of the device, not into it
            _instruction(0x85, 0, 0, _REDIRECT),
            _instruction(0x95),
        )
    )


def _load() -> int:
    number = _bpf(_MAP_CREATE, struct.pack("=IIII", _ARRAY, 4, 4, 1))
    try:
        code = _code(number)
        instructions, license_ = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(_LICENSE)
        # prog_type, insn_cnt, insns, license, log_level, log_size, log_buf, kern_version, prog_flags, prog_name
        where = (ctypes.addressof(instructions), ctypes.addressof(license_))
        attribute = struct.pack("=IIQQIIQII16s", _SCHED_CLS, len(code) // 8, *where, 0, 0, 0, 0, 0, _NAME)
        return _bpf(_LOAD, attribute)
    finally:
        os.close(number)  # the program holds it


def _attached(index: int) -> list[int]:
    """Ids of the programs on the device's way out."""
    ids = (ctypes.c_uint32 * _PROGRAMS_MAX)()
    # target_ifindex, attach_type, query_flags, attach_flags, prog_ids, prog_cnt
    attribute = struct.pack("=IIIIQI", index, _TCX_EGRESS, 0, 0, ctypes.addressof(ids), _PROGRAMS_MAX)
    buffer = ctypes.create_string_buffer(attribute.ljust(_ATTRIBUTE_BYTES, b"\0"), _ATTRIBUTE_BYTES)
    try:
        _bpf(_QUERY, buffer)
    except FileNotFoundError:
        return []
    (count,) = struct.unpack_from("=I", buffer.raw, 24)
    return list(ids[:count])


def _number_of(descriptor: int) -> int | None:
    """A descriptor of the number that a program of ours reads; None for another's."""
    ids = (ctypes.c_uint32 * 1)()
    info = ctypes.create_string_buffer(_INFO_BYTES)
    struct.pack_into("=IQ", info, _INFO_MAPS, 1, ctypes.addressof(ids))
    _bpf(_INFO, struct.pack("=IIQ", descriptor, _INFO_BYTES, ctypes.addressof(info)))
    if info.raw[_INFO_NAME : _INFO_NAME + 16].rstrip(b"\0") != _NAME:
        return None
    return _bpf(_MAP_BY_ID, struct.pack("=II", ids[0], 0))


@contextmanager
def _ours(index: int) -> Iterator[tuple[int, int] | None]:
    """Descriptors of our program on the device's way out, and of its number."""
    for identity in _attached(index):
        with ExitStack() as stack:
            try:
                program = _bpf(_PROGRAM_BY_ID, struct.pack("=II", identity, 0))
                stack.callback(os.close, program)
                number = _number_of(program)
            except FileNotFoundError:
                continue  # gone meanwhile
            if number is not None:
                stack.callback(os.close, number)
                yield program, number
                return
    yield None


def attach(index: int) -> None:
    """Have the program beside the device's way out; a new one lets all pass. In the calling thread's namespace."""
    with _ours(index) as found:
        if found:
            return
    program = _load()
    try:
        _bpf(_ATTACH, struct.pack("=III", index, program, _TCX_EGRESS))
    finally:
        os.close(program)


def turn(index: int, target: int) -> None:
    """Send all that goes out of the device out of the target from now on; 0: let it pass.

    Without a program nothing is to be let pass; to send elsewhere it has to be attached (OSError ENOENT).
    """
    with _ours(index) as found:
        if found is None:
            if target:
                raise FileNotFoundError(errno.ENOENT, f"no program beside device {index}")
            return
        key, value = ctypes.c_uint32(0), ctypes.c_uint32(target)
        _bpf(_MAP_UPDATE, struct.pack("=IIQQQ", found[1], 0, ctypes.addressof(key), ctypes.addressof(value), 0))


def target_of(index: int) -> int:
    """Where the program sends what goes out of the device; 0 where it passes, or there is none."""
    with _ours(index) as found:
        if found is None:
            return 0
        key, value = ctypes.c_uint32(0), ctypes.c_uint32(0)
        _bpf(_MAP_LOOKUP, struct.pack("=IIQQQ", found[1], 0, ctypes.addressof(key), ctypes.addressof(value), 0))
        return value.value


def detach(index: int) -> None:
    """Take the program away; none is fine. In the calling thread's namespace."""
    with _ours(index) as found:
        if found is None:
            return
        try:
            _bpf(_DETACH, struct.pack("=III", index, found[0], _TCX_EGRESS))
        except FileNotFoundError:
            return  # gone meanwhile

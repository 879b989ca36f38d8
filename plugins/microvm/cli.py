"""The command line, as runc has it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from plugins.microvm import __version__
from plugins.microvm.errors import RuntimeFailure
from plugins.microvm.log import write_log

DEFAULT_ROOT = "/run/vnfm-microvm"
OCI_VERSION = "1.0.2"


def run(argv: list[str]) -> int:
    """Do what the arguments say; failures go to standard error and to --log."""
    arguments = parser().parse_args(argv)
    handler: Callable[[argparse.Namespace], int] = arguments.handler
    try:
        return handler(arguments)
    except (RuntimeFailure, OSError) as error:
        print(f"vnfm-microvm: {error}", file=sys.stderr)  # noqa: T201
        write_log(arguments.log, arguments.log_format, "error", str(error))
        return 1


def parser() -> argparse.ArgumentParser:
    """All commands and options; those that runc has and that mean nothing here are taken and have no effect."""
    top = argparse.ArgumentParser(prog="vnfm-microvm", description="OCI runtime that boots bundles in qemu microVMs")
    top.add_argument("--version", action="version", version=f"vnfm-microvm {__version__}\nspec: {OCI_VERSION}")
    top.add_argument("--root", default=DEFAULT_ROOT, help="folder for the containers' state")
    top.add_argument("--log", default="", help="file for errors")
    top.add_argument("--log-format", choices=("json", "text"), default="text")
    top.add_argument(
        "--cache", help="folder for kernels and images (else $VNFM_MICROVM_CACHE, /var/cache/vnfm/microvm)"
    )
    top.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    top.add_argument("--systemd-cgroup", action="store_true", help=argparse.SUPPRESS)
    top.add_argument("--cgroup-manager", help=argparse.SUPPRESS)
    top.add_argument("--rootless", help=argparse.SUPPRESS)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, text: str, handler: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, allow_abbrev=False)
        made.set_defaults(handler=handler)
        return made

    for name, text, handler in (
        ("create", "boot a bundle; its process waits for start", _create),
        ("run", "create and start", _run),
    ):
        made = command(name, text, handler)
        made.add_argument("--bundle", "-b", default=".")
        made.add_argument("--pid-file")
        made.add_argument("--console-socket")
        made.add_argument("--no-pivot", action="store_true", help=argparse.SUPPRESS)
        made.add_argument("--no-new-keyring", action="store_true", help=argparse.SUPPRESS)
        made.add_argument("--preserve-fds", type=int, default=0)
        if name == "run":
            made.add_argument("--detach", "-d", action="store_true")
            made.add_argument("--keep", action="store_true", help="do not delete the container when it has ended")
        made.add_argument("id")
    command("start", "let a created container's process go", _start).add_argument("id")
    command("state", "print the OCI state", _state).add_argument("id")
    made = command("kill", "send a signal", _kill)
    made.add_argument("--all", "-a", action="store_true", dest="everyone")
    made.add_argument("id")
    made.add_argument("signal", nargs="?", default="SIGTERM")
    made = command("delete", "remove a container and all that was made for it", _delete)
    made.add_argument("--force", "-f", action="store_true")
    made.add_argument("id")
    _exec_parser(command("exec", "run one more process in a container", _exec))
    made = command("list", "list the containers", _list)
    made.add_argument("--format", "-f", choices=("table", "json"), default="table")
    made.add_argument("--quiet", "-q", action="store_true")
    made = command("ps", "list the container's processes on the host", _ps)
    made.add_argument("--format", "-f", choices=("table", "json"), default="table")
    made.add_argument("id")
    command("ping", "ask the guest agent for an answer and print how long it took", _ping).add_argument("id")
    made = command("templates", "list the guests that are kept to be cloned", _templates)
    made.add_argument("--drop", action="store_true", help="remove those that no clone uses")
    command("features", "print what is supported", _features)
    command("prepare", "make everything that is made once: kernel, agent, base archive, accelerator", _prepare)
    return top


def _exec_parser(made: argparse.ArgumentParser) -> None:
    made.add_argument("--tty", "-t", action="store_true")
    made.add_argument("--console-socket")
    made.add_argument("--cwd")
    made.add_argument("--env", "-e", action="append", default=[])
    made.add_argument("--user", "-u")
    made.add_argument("--process", "-p")
    made.add_argument("--detach", "-d", action="store_true")
    made.add_argument("--pid-file")
    made.add_argument("--preserve-fds", type=int, default=0)
    made.add_argument("id")
    made.add_argument("command", nargs=argparse.REMAINDER)


def _refuse(arguments: argparse.Namespace) -> None:
    if arguments.console_socket or getattr(arguments, "tty", False):
        raise RuntimeFailure("terminals (--console-socket, --tty) are not supported by this runtime yet")
    if arguments.preserve_fds:
        raise RuntimeFailure("--preserve-fds: descriptors of the host cannot be handed into a guest")


def _create(arguments: argparse.Namespace) -> int:
    from plugins.microvm.launch import Request, create

    _refuse(arguments)
    return 0 * create(
        Request(
            root=Path(arguments.root).absolute(),
            container=arguments.id,
            bundle=Path(arguments.bundle),
            pid_file=Path(arguments.pid_file) if arguments.pid_file else None,
            cache=arguments.cache,
            log=arguments.log,
            log_format=arguments.log_format,
        )
    )


def _run(arguments: argparse.Namespace) -> int:
    from plugins.microvm import commands
    from plugins.microvm.store import load

    root = Path(arguments.root).absolute()
    _create(arguments)
    try:
        pid = load(root, arguments.id).pid
        if not arguments.detach:
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
                signal.signal(number, lambda number, frame: os.kill(pid, number))
        commands.start(root, arguments.id)
    except RuntimeFailure:
        commands.delete(root, arguments.id, force=True)
        raise
    if arguments.detach:
        return 0
    _, status = os.waitpid(pid, 0)
    if not arguments.keep:
        commands.delete(root, arguments.id, force=True)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _start(arguments: argparse.Namespace) -> int:
    from plugins.microvm import commands

    commands.start(Path(arguments.root), arguments.id)
    return 0


def _state(arguments: argparse.Namespace) -> int:
    from plugins.microvm.store import load

    _print(load(Path(arguments.root), arguments.id).report())
    return 0


def _kill(arguments: argparse.Namespace) -> int:
    from plugins.microvm import commands

    commands.kill(Path(arguments.root), arguments.id, _signal(arguments.signal), arguments.everyone)
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    from plugins.microvm import commands

    commands.delete(Path(arguments.root), arguments.id, arguments.force)
    return 0


def _exec(arguments: argparse.Namespace) -> int:
    from plugins.microvm import commands
    from plugins.microvm.bundle import load_bundle
    from plugins.microvm.process import load_process, variant
    from plugins.microvm.store import load

    _refuse(arguments)
    root = Path(arguments.root)
    if arguments.process:
        process = load_process(Path(arguments.process))
    else:
        words = tuple(arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command)
        if not words:
            raise RuntimeFailure("exec needs a command, or --process FILE")
        base = load_bundle(Path(load(root, arguments.id).bundle)).process
        process = variant(base, words, arguments.cwd, tuple(arguments.env), arguments.user)
    pid_file = Path(arguments.pid_file) if arguments.pid_file else None
    return commands.execute(root, arguments.id, process, pid_file, arguments.detach)


def _list(arguments: argparse.Namespace) -> int:
    from plugins.microvm.store import load_all

    found = [container.report() for container in load_all(Path(arguments.root))]
    if arguments.quiet:
        for item in found:
            print(item["id"])  # noqa: T201
    elif arguments.format == "json":
        _print(found)
    else:
        print(f"{'ID':32} {'PID':>8} {'STATUS':10} {'CREATED':32} BUNDLE")  # noqa: T201
        for item in found:
            line = f"{item['id']:32} {item['pid']:8} {item['status']:10} {item['created']:32} {item['bundle']}"
            print(line)  # noqa: T201
    return 0


def _ps(arguments: argparse.Namespace) -> int:
    from plugins.microvm import commands

    pids = commands.processes(Path(arguments.root), arguments.id)
    if arguments.format == "json":
        _print(pids)
    else:
        print("\n".join(["PID", *map(str, pids)]))  # noqa: T201
    return 0


def _ping(arguments: argparse.Namespace) -> int:
    from plugins.microvm import commands

    print(f"{commands.ping(Path(arguments.root), arguments.id):.1f} ms")  # noqa: T201
    return 0


def _features(arguments: argparse.Namespace) -> int:
    from plugins.microvm.process import CAPABILITIES
    from plugins.microvm.qemu import PREFIX

    _print(
        {
            "ociVersionMin": "1.0.0",
            "ociVersionMax": OCI_VERSION,
            "hooks": [],
            "mountOptions": ["ro", "rw", "nosuid", "nodev", "noexec", "noatime", "relatime", "strictatime"],
            "linux": {
                "namespaces": ["network", "mount", "pid", "ipc", "uts", "cgroup"],
                "capabilities": [f"CAP_{name}" for name in CAPABILITIES],
                "cgroup": {"v1": True, "v2": True, "systemd": False},
                "seccomp": {"enabled": False},
                "apparmor": {"enabled": False},
                "selinux": {"enabled": False},
            },
            "annotations": {"vnfm.microvm.version": __version__, "vnfm.microvm.annotations": PREFIX + "*"},
        }
    )
    return 0


def _prepare(arguments: argparse.Namespace) -> int:
    from plugins.microvm.accel import accelerator
    from plugins.microvm.assets import prepare_assets
    from plugins.microvm.cache import cache_folder

    cache = cache_folder(arguments.cache)
    assets = prepare_assets(cache)
    kind = accelerator(cache, assets)
    _print({"cache": str(cache), "kernel": assets.version, "accelerator": kind, "key": assets.key})
    return 0


def _templates(arguments: argparse.Namespace) -> int:
    from plugins.microvm import templates

    try:
        place = templates.folder()
    except templates.NoTemplate as error:
        raise RuntimeFailure(str(error)) from error
    if arguments.drop:
        templates.drop_unused(place)
    _print(
        [
            {"key": entry.path.name, "bytes": entry.bytes, "usedAt": round(entry.used_at), "inUse": entry.in_use}
            for entry in templates.entries(place)
        ]
    )
    return 0


def _signal(text: str) -> int:
    name = text.upper().removeprefix("SIG")
    if name.isdigit() and 0 < int(name) < signal.NSIG:
        return int(name)
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        raise RuntimeFailure(f"unknown signal {text!r}") from None


def _print(value: object) -> None:
    print(json.dumps(value, indent=2))  # noqa: T201

"""The gateway's disk in a real guest: it takes its network from the config drive and answers the host."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from descriptors.images.build import build
from descriptors.images.host import PACKAGES, Host

MISSING = Host().missing(list(PACKAGES)) + [p for p in ("qemu-system-x86_64",) if shutil.which(p) is None]
BOOT_SECONDS = 120

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(bool(MISSING), reason=f"needs {' '.join(MISSING)}"),
]

NETWORK = """\
hostname gw-7
nic 52:54:00:77:00:01 left 1400 10.7.1.2/30,10.77.0.1/32
nic 52:54:00:77:00:02 right 0 10.7.2.1/24
route 10.1.0.0/24 via 10.7.1.1 dev left
route 10.9.0.0/24 via 10.7.2.9 dev right
route 192.168.5.0/24 via 172.31.0.1 dev right
"""


class Guest:
    """A booted gateway, spoken to through its agent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self.open()

    def open(self) -> None:
        """Connect to the agent's port."""
        until = time.monotonic() + BOOT_SECONDS
        while True:
            try:
                self._socket = socket.socket(socket.AF_UNIX)
                self._socket.connect(str(self._folder / "agent"))
                break
            except OSError:
                assert time.monotonic() < until
                time.sleep(0.1)
        self._socket.settimeout(BOOT_SECONDS)
        self.lines = self._socket.makefile("r")

    def close(self) -> None:
        """Leave the port."""
        self.lines.close()
        self._socket.close()

    def send(self, command: str) -> str:
        """Start a command; its id."""
        self._count += 1
        name = f"t-{self._count}"
        self._socket.sendall(f"{name} {base64.b64encode(command.encode()).decode()}\n".encode())
        return name

    def answer(self) -> tuple[str, int, str]:
        """The next answer: id, exit code, output."""
        while (line := self.lines.readline()).startswith("READY"):
            pass
        name, code, *output = line.split()
        return name, int(code), base64.b64decode(output[0] if output else "").decode()

    def run(self, command: str) -> str:
        """The output of a command that succeeds."""
        name = self.send(command)
        answered, code, output = self.answer()
        assert (answered, code) == (name, 0), output
        return output


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    folder = tmp_path_factory.mktemp("gw")
    (image,) = (b.image for b in build(["gw"], folder / "cache", folder / "out", Host(), lambda _: None))
    (folder / "vnfm").mkdir()
    (folder / "vnfm/network").write_text(NETWORK)
    (folder / "openstack/latest").mkdir(parents=True)
    (folder / "openstack/latest/user_data").write_text("#!/bin/sh\ntouch /run/user_data_ran\n")
    subprocess.run(["mkfs.vfat", "-n", "config-2", "-C", folder / "config", "1024"], check=True, capture_output=True)
    subprocess.run(["mcopy", "-s", "-i", folder / "config", folder / "vnfm", folder / "openstack", "::"], check=True)
    command = [
        *("qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-cpu", "max", "-m", "128", "-nodefaults"),
        *("-no-user-config", "-display", "none", "-no-reboot", "-snapshot", "-serial", f"file:{folder}/console"),
        *("-device", "virtio-serial-pci", "-chardev", f"socket,id=a,path={folder}/agent,server=on,wait=off"),
        *("-device", "virtserialport,chardev=a,name=vnfm.agent.0"),
        *("-drive", f"id=d,if=none,format=qcow2,file={image.path}", "-device", "virtio-blk-pci,drive=d,bootindex=0"),
        *("-drive", f"id=c,if=none,format=raw,file={folder}/config", "-device", "virtio-blk-pci,drive=c"),
    ]
    for number in (1, 2):
        command += ["-netdev", f"hubport,id=n{number},hubid={number}"]
        command += ["-device", f"virtio-net-pci,netdev=n{number},mac=52:54:00:77:00:0{number},romfile="]
    qemu = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        one = Guest(folder)
        assert one.lines.readline().startswith("READY "), (folder / "console").read_text()
        yield one
        one.send("poweroff -f")
        assert qemu.wait(30) == 0
    finally:
        qemu.kill()
        qemu.wait()


def test_it_is_set_up_as_its_config_drive_says(guest: Guest) -> None:
    assert guest.run("hostname").strip() == "gw-7"
    left = guest.run("ip addr show dev left")
    assert "mtu 1400" in left
    assert "inet 10.7.1.2/30" in left
    assert "inet 10.77.0.1/32" in left
    assert "52:54:00:77:00:02" in guest.run("cat /sys/class/net/right/address")
    routes = guest.run("ip route")
    assert "10.1.0.0/24 via 10.7.1.1 dev left" in routes
    assert "192.168.5.0/24 via 172.31.0.1 dev right" in routes, "a gateway outside its networks"
    assert guest.run("cat /proc/sys/net/ipv4/ip_forward").strip() == "1"


def test_it_runs_what_it_was_given_and_shows_its_state(guest: Guest) -> None:
    guest.run("for i in 1 2 3 4 5 6 7 8 9; do [ -e /run/user_data_ran ] && exit 0; sleep 1; done; exit 1")
    page = guest.run("wget -qO- http://10.7.1.2/")
    assert '"hostname":"gw-7"' in page
    assert '"addresses":["10.7.1.2/30","10.77.0.1/32"]' in page
    assert '"forwarded_packets":0' in page


def test_exit_codes_and_both_outputs_come_back(guest: Guest) -> None:
    name = guest.send("echo out; echo err >&2; exit 7")
    assert guest.answer() == (name, 7, "out\nerr\n")


def test_many_commands_run_beside_each_other_and_mix_nothing(guest: Guest) -> None:
    slow = guest.send("sleep 3; echo slow")
    wanted = {guest.send(f"seq {count}"): count for count in range(1000, 9000, 1000)}
    order = []
    for _ in range(len(wanted) + 1):
        name, code, output = guest.answer()
        order.append(name)
        assert code == 0
        assert output.split() == (["slow"] if name == slow else [str(i) for i in range(1, wanted[name] + 1)])
    assert slow in order[1:], "a slow command holds up no other"


def test_a_host_that_closes_and_comes_back_is_heard_and_told_ready(guest: Guest) -> None:
    for pause in (0, 0.05, 0.5):
        guest.close()
        time.sleep(pause)
        guest.open()
        assert guest.run("echo back").strip() == "back", "a request sent at once is not lost"
    guest.close()
    guest.open()
    assert guest.lines.readline().startswith("READY ")

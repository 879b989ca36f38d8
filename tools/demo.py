"""`make demo`: from VNF packages to packets that cross a container, a microVM and a VM, told step by step.

Everything is done by the `vnfm` command as a newcomer would do it, on a state folder of the demo's own. Nothing is
left on the host at the end, and that is checked. An earlier demo that was broken off is cleared away first.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

import demo_host
import demo_live
import demo_traffic
from demo_cleanup import clear, remove_state, remove_templates, state_folder, templates_folder
from demo_packages import build_packages
from demo_run import ROOT, Cli, Followed, Manager, vnfm_command
from demo_tell import StoryError, Teller
from rich.console import Console

BUILD = ROOT / "build" / "demo"
CHAIN_FILE = "descriptors/chains/vcpe.yaml"
PATHS_FILE = "descriptors/chains/vcpe-paths.yaml"
EXPECTED = {"fw": "CONTAINER", "rt": "KATA", "gw": "VM"}
ALLOWED_PORT, FORBIDDEN_PORT = 8080, 2323
WEB_PORT = 443
SECOND = "vcpe-paths"
IN_THE_MIDDLE = re.compile(r"(?P<percent>1[5-9]|[2-7]\d) %  done")


Stage = Callable[[Teller], AbstractContextManager[tuple[str, ...]]]
"""What a story plays on while it is told; gives the manager's VIMs, as `vnfm serve --vim` takes them."""


class Demo:
    """The story, step by step."""

    name = "vcpe"
    route = "fw → rt → gw"
    expected = EXPECTED
    meaning = "the descriptors name needs, no realization: fw shares a kernel, rt has its own, gw is a VM"

    def __init__(self, teller: Teller, manager: Manager, cli: Cli) -> None:
        self.chain_file = CHAIN_FILE
        self.teller = teller
        self.manager = manager
        self.cli = cli
        self.witness = demo_host.Witness(manager.state)
        self.standing: list[str] = []  # chains that were created and not terminated

    def play(self) -> None:
        """All steps in order; StoryError where one does not hold."""
        with self.teller.step("This host, and the manager"):
            self.prepare()
        with self.teller.step("Four VNF packages: built, checked, onboarded"):
            self.onboard()
        with self.teller.step("The plan: which realization, which host, and why"):
            self.plan()
        with self.teller.step("The chain vcpe is created"):
            self.create()
        with self.teller.step("Real traffic crosses it"):
            self.traffic()
        with self.teller.step("A fourth VNF goes into the living chain and out again"):
            demo_live.insert_and_remove(self.teller, self.cli, "vcpe", self.witness.look)
        with self.teller.step("A VNF is killed, and healed"):
            demo_live.kill_and_heal(self.teller, self.cli, "vcpe", "fw")
            self.witness.look()
        with self.teller.step("The manager is killed while it creates another chain"):
            self.crash()
        with self.teller.step("Several paths: what a packet is decides its way"):
            demo_live.several_paths(self.teller, self.cli, SECOND, (WEB_PORT, ALLOWED_PORT))
        with self.teller.step("Everything is taken down, and nothing is left"):
            self.take_down()

    def prepare(self) -> None:
        """Start the manager."""
        self.teller.command(["vnfm", "serve", "--state", str(self.manager.state), *self.manager.options])
        took = self.manager.start()
        self.teller.good(f"the manager answers after {took:.1f} s; its log: {BUILD / 'manager.log'}")

    def onboard(self) -> None:
        """Build and onboard fw, rt, gw and mon."""
        for csar in build_packages(self.teller, BUILD):
            shown = os.path.relpath(csar, ROOT)
            package = self.cli.ask("package", "onboard", shown, tell=True)
            self.teller.good(
                f"{package['product']} {package['version']} by {package['provider']} is {package['onboarding_state']}"
            )
        self.cli.show("package", "list")

    def plan(self) -> None:
        """Show the plan and check that each need led where it must."""
        self.cli.show("chain", "plan", self.chain_file)
        plan = self.cli.ask("chain", "plan", self.chain_file)
        found = {v["alias"]: v["runtime"] for v in plan["vnfs"]}
        if found != self.expected:
            raise StoryError(f"expected {self.expected} from the descriptors' needs, the plan says {found}")
        self.teller.good(self.meaning)

    def create(self) -> None:
        """Create the chain; COMPLETED says that probe packets crossed every hop."""
        op = self.cli.ask("chain", "create", self.chain_file, tell=True, progress=True)
        self.standing.append(self.name)
        self.witness.look()
        self.teller.good(f"operation {op['id']} is {op['state']}: {len(op['steps'])} steps, the probe included")

    def traffic(self) -> None:
        """Allowed, forbidden, translated; packets and RTT a hop; the picture."""
        chain = self.cli.ask("chain", "show", self.name)
        server = demo_traffic.Server(self.cli, self.name, "server", (ALLOWED_PORT, FORBIDDEN_PORT))
        try:
            self.exchange(chain, server)
        finally:
            server.stop()
        self.cli.ask("chain", "probe", self.name, "--packets", "20")
        self.cli.show("chain", "show", self.name)
        picture = BUILD / f"{self.name}.svg"
        self.cli.show("chain", "graph", self.name, "-o", os.path.relpath(picture, ROOT))
        if "<svg" not in picture.read_text(encoding="utf-8")[:1000]:
            raise StoryError(f"{picture} is no SVG")
        self.teller.good(f"a picture of the chain: {picture}")

    def exchange(self, chain: dict[str, Any], server: demo_traffic.Server) -> None:
        """Requests from the client's end to the server's."""
        client_ip = demo_traffic.address_of(self.cli, self.name, "client")
        server_ip = demo_traffic.address_of(self.cli, self.name, "server")
        firewall = next(v["vnf_instance_id"] for v in chain["vnfs"] if v["alias"] == "fw")
        self.teller.line(f"client {client_ip} → {self.route} → server {server_ip}")

        answer, seen = self.call_until_translated(server, client_ip, server_ip)
        self.teller.good(f"port {ALLOWED_PORT} passes: the server answers “{answer}”")
        self.teller.good(f"the router translates: {client_ip} calls, the server sees {seen}")

        dropped = demo_traffic.dropped_packets(self.cli, firewall)
        reply = demo_traffic.request(self.cli, self.name, "client", server_ip, FORBIDDEN_PORT, patience_s=2.0)
        counted = demo_traffic.dropped_packets(self.cli, firewall) - dropped
        if reply.answer or not server.silent(0.2):
            raise StoryError(f"port {FORBIDDEN_PORT} must not pass, but the server answered “{reply.answer}”")
        if counted <= 0:
            raise StoryError(
                f"nothing came over port {FORBIDDEN_PORT} ({reply.error}), but the firewall dropped nothing"
            )
        self.teller.good(f"port {FORBIDDEN_PORT} does not: {reply.error}; the firewall's counter rose by {counted}")

    def call_until_translated(
        self, server: demo_traffic.Server, client_ip: str, server_ip: str, patience_s: float = 10.0
    ) -> tuple[str, str]:
        """(answer, caller as the server saw it). A microVM under emulation may load its rules a moment after boot."""
        begun = time.monotonic()
        while True:
            reply = demo_traffic.request(self.cli, self.name, "client", server_ip, ALLOWED_PORT)
            waited = time.monotonic() - begun
            if not reply.answer:
                raise StoryError(f"port {ALLOWED_PORT} must pass the firewall, but: {reply.error}")
            seen = server.expect("served", timeout_s=5)[2]
            if seen != client_ip:
                return reply.answer, seen
            if waited > patience_s:
                raise StoryError(f"the server saw the client's own address {seen}: the router translated nothing")
            self.teller.line(f"the router has not loaded its rules yet ({waited:.1f} s)")
            time.sleep(0.5)

    def crash(self) -> None:
        """kill -9 in the middle of creating a second chain; the operation goes on at the next start."""
        self.make_room(PATHS_FILE)
        create = Followed(self.cli, self.teller, "chain", "create", PATHS_FILE)
        self.standing.append(SECOND)
        try:
            at = int(create.until(IN_THE_MIDDLE)["percent"])
            self.manager.kill()
            self.teller.line(f"kill -9 of the manager at {at} %")
            took = self.manager.start()
            self.teller.good(f"started again in {took:.1f} s; nobody tells it what to do")
            op = create.answer()
        finally:
            create.give_up()
        chain = self.cli.ask("chain", "show", SECOND)
        if chain["state"] != "INSTANTIATED":
            raise StoryError(f"{SECOND} is {chain['state']}")
        self.witness.look()
        self.teller.good(f"the operation went on by itself to {op['state']}; {SECOND} is {chain['state']}")

    def make_room(self, chain_file: str) -> None:
        """On a host with room for one chain only, the first one goes before the second comes."""
        plan = json.loads(self.cli.run("chain", "plan", chain_file, "-o", "json").stdout or "{}")
        if plan.get("feasible") is False:
            self.teller.line(
                f"the host has no room for a second chain ({plan['refused']['detail']}); the first one goes"
            )
            self.terminate("vcpe")

    def terminate(self, name: str) -> None:
        """Terminate a chain and delete its record."""
        self.witness.look()
        self.cli.ask("chain", "terminate", name, tell=True, progress=True)
        self.cli.ask("chain", "delete", name)
        self.standing.remove(name)

    def take_down(self) -> None:
        """Terminate all chains, stop the manager, look at the host."""
        for name in tuple(self.standing):
            self.terminate(name)
        self.manager.stop()
        remove_templates(self.manager.state)
        left = self.witness.left_over()
        if left.ours:
            raise StoryError("left on the host: " + ", ".join(left.ours))
        if left.others:
            self.teller.line(f"meanwhile appeared, but not by this demo: {', '.join(left.others)}")
        remove_state(self.manager.state)
        self.teller.good(
            f"looked for each {', '.join(self.witness.kinds)}: none of ours is left; the state folder is gone too"
        )


def missing(report: dict[str, Any]) -> str | None:
    """What the doctor found missing, in one line with what to do; None where all is there."""
    bad = [c for c in report["checks"] if not c["ok"] and "(optional)" not in c["name"]]
    if report["ok"] or not bad:
        return None if report["ok"] else "the host does not fit; see `vnfm doctor`"
    return "; ".join(f"{c['name']}: {c['detail']}{' → ' + c['fix'] if c['fix'] else ''}" for c in bad)


@contextmanager
def only_one() -> Iterator[None]:
    """Two demos of one clone would take each other down."""
    try:
        BUILD.mkdir(parents=True, exist_ok=True)
        lock = (BUILD / "lock").open("w")
    except PermissionError:
        raise StoryError(f"{BUILD} is not ours to write: run this as root, who made it") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoryError("another demo of this clone is running") from None
        yield


@contextmanager
def on_this_host(_teller: Teller) -> Iterator[tuple[str, ...]]:
    """Where the story plays: the manager's VIMs are its own choice."""
    yield ()


def run(teller: Teller, story: type[Demo] = Demo, stage: Stage = on_this_host) -> int:
    """The demo's exit code: 0 told to the end, 1 something did not hold, 130 broken off."""
    state = state_folder()
    os.environ["VNFM_MICROVM_TEMPLATES"] = str(templates_folder(state))
    with only_one(), stage(teller) as vims:
        manager = Manager(state, BUILD / "manager.log", vims)
        cli = Cli(manager.endpoint, teller)
        teller.command(["vnfm", "doctor"])
        lack = missing(examine())
        if lack is not None:
            teller.bad(f"this host lacks something, nothing was created: {lack}")
            return 1
        teller.good("this host can realize containers, microVMs and VMs")
        if state.exists():
            teller.line("an earlier demo was broken off; clearing what it left")
            clear(teller, manager, cli)
        (BUILD / "manager.log").unlink(missing_ok=True)
        try:
            story(teller, manager, cli).play()
        except StoryError as error:
            teller.bad(str(error))
            teller.line(f"the manager's last words: {manager.last_words()}")
            clear(teller, manager, cli)
            return 1
        except KeyboardInterrupt:
            teller.line("broken off; taking down what stands (a second Ctrl-C leaves that to the next demo)")
            clear(teller, manager, cli)
            return 130
    teller.summary()
    return 0


def examine() -> dict[str, Any]:
    """What `vnfm doctor` says; a doctor that fails to answer is a lack itself."""
    done = subprocess.run(
        [*vnfm_command(), "doctor", "-o", "json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        why = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        report = {"ok": False, "checks": [{"name": "vnfm doctor", "ok": False, "detail": why[0], "fix": "make setup"}]}
    return report


def main(story: type[Demo] = Demo, stage: Stage = on_this_host) -> int:
    """Entry point; SIGTERM is taken as Ctrl-C."""

    def interrupted(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    teller = Teller(Console(highlight=False))
    try:
        return run(teller, story, stage)
    except StoryError as error:
        teller.bad(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

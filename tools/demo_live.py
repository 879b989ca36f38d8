"""What a chain that carries traffic goes through: a VNF comes and goes, one dies, packets choose between paths."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import demo_traffic
from demo_pings import Pings
from demo_run import Cli
from demo_tell import StoryError, Teller

HEAL_PATIENCE_S = 30.0
EXPEDITED = "0xb8"  # the TOS byte of DSCP 46


def insert_and_remove(teller: Teller, cli: Cli, chain: str, look: Callable[[], None]) -> None:
    """`mon` between fw and rt while pings run, and out again; none of them may be lost. `look` is called in between."""
    server_ip = demo_traffic.address_of(cli, chain, "server")
    cli.show("chain", "trace", chain)
    with Pings(cli, teller, chain, "client", server_ip) as pings:
        insert = cli.ask(
            *("chain", "insert", chain, "--vnf", "mon", "--as", "mon", "--after", "fw"), tell=True, progress=True
        )
        pings.more(200)
        look()
        cli.show("chain", "trace", chain)
        way = traced(cli.ask("chain", "trace", chain), "default")
        seen = status(cli, f"{chain}/mon", tell=teller)
        remove = cli.ask("chain", "remove", chain, "mon", tell=True, progress=True)
        pings.more(200)
        way_after = traced(cli.ask("chain", "trace", chain), "default")
    count = pings.tally()
    if way != ["client", "fw", "mon", "rt", "gw", "server"] or way_after != ["client", "fw", "rt", "gw", "server"]:
        raise StoryError(f"the traced packets went {' → '.join(way)}, then {' → '.join(way_after)}")
    if min(side["packets"] for side in (seen["left_to_right"], seen["right_to_left"])) < 100:
        raise StoryError(f"the pings did not pass through mon: it counted {seen}")
    if count.lost:
        raise StoryError(f"{len(count.lost)} of {count.sent} pings were lost: {list(count.lost[:20])}")
    passed = seen["left_to_right"]["packets"]
    teller.good(f"mon went in and out of the living chain; meanwhile it counted {passed} packets from left to right")
    teller.good(f"{count.sent} pings, {count.per_second:.0f} a second, none lost; the longest gap: {gap(count)}")
    teller.good(f"the switches: in, {switch(insert)}; out, {switch(remove)}")


def kill_and_heal(teller: Teller, cli: Cli, chain: str, alias: str) -> None:
    """kill -9 of a container's process, from outside; nobody tells the manager."""
    before = vnfc_of(cli, chain, alias)
    known = {op["id"] for op in cli.ask("op", "list")}
    pid = int(before["native_id"].rpartition(":")[2] or 0)
    if not belongs_to(pid, before["id"]):
        raise StoryError(f"process {pid} is none of {chain}/{alias}")
    server_ip = demo_traffic.address_of(cli, chain, "server")
    with Pings(cli, teller, chain, "client", server_ip) as pings:
        teller.command(["kill", "-9", str(pid)])
        os.kill(pid, signal.SIGKILL)
        op = wait_for_heal(cli, known)
        pings.more(100)
    count = pings.tally()
    cli.show("op", "show", op["id"])
    after = vnfc_of(cli, chain, alias)
    if after["id"] == before["id"] or after["addresses"] != before["addresses"]:
        raise StoryError(f"{alias} was {before} and is {after}: expected another instance with the same addresses")
    teller.good(f"the manager saw that {alias} was gone and put another one in its place: HEAL is {op['state']}")
    known_ms = outage_ms(op)
    told = f"{known_ms:.0f} ms, says the manager; " if known_ms is not None else ""
    teller.good(f"from death to packets flowing: {told}{gap(count)} without an answer, say the pings")


def several_paths(teller: Teller, cli: Cli, chain: str, ports: tuple[int, int]) -> None:
    """Port 443 takes the path through mon, port 8080 does not, expedited pings go past the firewall."""
    web_port, other_port = ports
    server_ip = demo_traffic.address_of(cli, chain, "server")
    server = demo_traffic.Server(cli, chain, "server", ports)
    try:
        rises: dict[int, dict[str, int]] = {}
        before = counted(cli, chain)
        for port in (other_port, web_port):
            teller.line(f"the client sends a request to {server_ip} port {port}")
            reply = demo_traffic.request(cli, chain, "client", server_ip, port)
            if not reply.answer:
                raise StoryError(f"port {port} must pass: {reply.error}")
            after = counted(cli, chain)
            rises[port], before = risen(before, after), after
    finally:
        server.stop()
    ping = ("chain", "exec", chain, "client", "--", "ping", "-c", "5", "-i", "0.2", "-Q", EXPEDITED, server_ip)
    teller.command(["vnfm", *ping])
    done = cli.run(*ping)
    if done.returncode:
        raise StoryError(f"expedited pings did not pass: {(done.stdout + done.stderr).strip()[-300:]}")
    voice = risen(before, counted(cli, chain))
    cli.show("chain", "stats", chain, "--count", "1")
    for what, rise, path in (
        (f"port {other_port}", rises[other_port], "default"),
        (f"port {web_port}", rises[web_port], "web"),
        ("DSCP 46", voice, "voice"),
    ):
        paths = {name for name, packets in rise.items() if packets and name != "mon"}
        if paths != {path} or bool(rise["mon"]) != (path == "web"):
            raise StoryError(f"{what} must take the path {path} only, but the counters rose by {rise}")
        teller.good(f"{what} took the path {path}, no other: {rise[path]} counted there; mon counted {rise['mon']}")


def traced(trace: dict[str, Any], path: str) -> list[str]:
    """The names that a traced packet passed on its way there, in order, each once."""
    hops = next((p["hops"] for p in trace["paths"] if p["path"] == path), [])
    there = [h["name"] for h in hops if h["direction"] == "forward"]
    return list(dict.fromkeys(there))


def status(cli: Cli, vnf: str, tell: Teller | None = None) -> dict[str, Any]:
    """What the monitor counted, asked of itself."""
    command = ("vnf", "exec", vnf, "--", "status")
    if tell:
        tell.command(["vnfm", *command])
    done = cli.run(*command)
    if done.returncode:
        raise StoryError(f"{vnf} does not say what it counted: {done.stderr.strip()}")
    if tell:
        tell.line(done.stdout.strip())
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def counted(cli: Cli, chain: str) -> dict[str, int]:
    """Packets by path as the VIM counts them, and those that mon counted itself."""
    stats = cli.ask("chain", "stats", chain, "--count", "1")
    packets = {p["name"]: sum(h["packets"] for h in p["hops"]) for p in stats["paths"]}
    own = status(cli, f"{chain}/mon")
    return packets | {"mon": own["left_to_right"]["packets"] + own["right_to_left"]["packets"]}


def risen(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """By how much each counter rose."""
    return {name: after[name] - before.get(name, 0) for name in after}


def vnfc_of(cli: Cli, chain: str, alias: str) -> dict[str, Any]:
    """The only instance of a VNF of the chain."""
    shown = cli.ask("chain", "show", chain)
    found: dict[str, Any] = next(v["vnfcs"][0] for v in shown["vnfs"] if v["alias"] == alias)
    return found


def belongs_to(pid: int, resource_id: str) -> bool:
    """Whether the process lives in the compute's control group: no other one may be killed."""
    from plugins.local.stamps import key_of

    with suppress(OSError):
        return pid > 1 and key_of(resource_id) in Path(f"/proc/{pid}/cgroup").read_text()
    return False


def wait_for_heal(cli: Cli, known: set[str]) -> dict[str, Any]:
    """The HEAL that nobody asked for, once it is COMPLETED."""
    end = time.monotonic() + HEAL_PATIENCE_S
    op: dict[str, Any] = {}
    while time.monotonic() < end:
        fresh = [o for o in cli.ask("op", "list") if o["operation"] == "HEAL" and o["id"] not in known]
        op = next((o for o in fresh if not o.get("parent_id")), {})
        if op.get("state") == "COMPLETED":
            return op
        if op.get("state") in ("FAILED_TEMP", "FAILED", "ROLLED_BACK"):
            raise StoryError(f"HEAL is {op['state']}: {(op.get('error') or {}).get('detail', '')}")
        time.sleep(0.1)
    raise StoryError(f"no HEAL was COMPLETED within {HEAL_PATIENCE_S:.0f} s: {op.get('state', 'none was begun')}")


def outage_ms(op: dict[str, Any]) -> float | None:
    """From death to packets flowing, where the operation says it."""
    found = op.get("outage_ms", op.get("affected", {}).get("outage_ms"))
    return None if found is None else float(found)


def switch(op: dict[str, Any]) -> str:
    """What the VIM said of the switch of the operation's path."""
    said = [s["detail"] for s in op["steps"] if s["name"].startswith("path ") and s.get("detail")]
    return "; ".join(said) or "nothing said of it"


def gap(count: Any) -> str:
    """The longest time between two answers."""
    return f"{count.longest_gap_ms:.0f} ms"

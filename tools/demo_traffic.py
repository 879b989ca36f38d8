"""Real traffic through the chain: what passes, what the firewall drops, what the far end sees."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from demo_run import Cli
from demo_tell import StoryError

# Runs at the server's end: answers on every port given, and says on stdout who called.
SERVER = """
import os, socket, sys, threading
def serve(port, listener):
    while True:
        connection, peer = listener.accept()
        with connection:
            connection.settimeout(5)
            connection.recv(2048)
            text = f"port {port} saw {peer[0]}\\n".encode()
            connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(text) + text)
        print("served", port, peer[0], flush=True)
listeners = {port: socket.create_server(("", port)) for port in map(int, sys.argv[1:])}
threading.Timer(120, os._exit, (0,)).start()  # never outlives the demo by much
for port, listener in listeners.items():
    print("listening", port, flush=True)
    threading.Thread(target=serve, args=(port, listener)).start()
"""
# Runs at the client's end: one request; prints the answer's last line, or the reason why there is none.
CLIENT = """
import socket, sys
host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
try:
    with socket.create_connection((host, port), timeout=seconds) as connection:
        connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        answer = b""
        while piece := connection.recv(2048):
            answer += piece
except TimeoutError:
    sys.exit("no answer within %g s" % seconds)
except OSError as error:
    sys.exit(str(error))
print(answer.decode().strip().splitlines()[-1])
"""


@dataclass(frozen=True)
class Reply:
    """What came of a request: `answer` is empty where none came, then `error` says why."""

    answer: str
    error: str
    took_ms: float


class Server:
    """The listening program at an end of the chain, and the callers it saw."""

    def __init__(self, cli: Cli, chain: str, end: str, ports: tuple[int, ...]) -> None:
        program = [sys.executable, "-I", "-u", "-c", SERVER, *map(str, ports)]
        self._process = cli.start("chain", "exec", chain, end, "--", *program)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        for _ in ports:
            self.expect("listening", timeout_s=20)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.strip())

    def expect(self, word: str, timeout_s: float) -> list[str]:
        """The next line that begins with `word`, as its words."""
        end = time.monotonic() + timeout_s
        while (remaining := end - time.monotonic()) > 0:
            if self._process.poll() is not None and self._lines.empty():
                break
            try:
                line = self._lines.get(timeout=min(remaining, 0.2))
            except queue.Empty:
                continue
            if line.startswith(word):
                return line.split()
        stderr = ""
        if self._process.poll() is not None and self._process.stderr is not None:
            stderr = self._process.stderr.read().strip()
        raise StoryError(f"the server end did not say {word!r} within {timeout_s:.0f} s {stderr}".strip())

    def silent(self, seconds: float) -> bool:
        """Whether nothing more is said for so long."""
        try:
            self._lines.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def stop(self) -> None:
        """End the program with its exec."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def address_of(cli: Cli, chain: str, end: str) -> str:
    """The IPv4 address of an end of the chain, asked of the end itself."""
    done = cli.run("chain", "exec", chain, end, "--", "ip", "-j", "-4", "address")
    address = first_address(done.stdout) if done.returncode == 0 else None
    if address is None:
        raise StoryError(f"the end {end} of {chain} has no IPv4 address: {done.stderr.strip()}")
    return address


def first_address(ip_json: str) -> str | None:
    """The first global IPv4 address in `ip -j -4 address`."""
    try:
        devices = json.loads(ip_json)
    except ValueError:
        return None
    for device in devices:
        for info in device.get("addr_info", []):
            if info.get("scope") == "global":
                return str(info["local"])
    return None


def request(cli: Cli, chain: str, end: str, host: str, port: int, patience_s: float = 3.0) -> Reply:
    """One TCP request from an end of the chain."""
    begun = time.monotonic()
    program = [sys.executable, "-I", "-c", CLIENT, host, str(port), str(patience_s)]
    done = cli.run("chain", "exec", chain, end, "--", *program, timeout_s=patience_s + 30)
    took_ms = (time.monotonic() - begun) * 1000
    if done.returncode == 0:
        return Reply(done.stdout.strip(), "", took_ms)
    return Reply("", done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "refused", took_ms)


def dropped_packets(cli: Cli, vnf_instance: str) -> int:
    """Packets that the firewall's own rules counted as dropped, read inside the VNF."""
    done = cli.run("vnf", "exec", vnf_instance, "--", "nft", "-j", "list", "ruleset")
    if done.returncode:
        raise StoryError(f"the firewall's rules cannot be read: {done.stderr.strip()}")
    try:
        return count_drops(json.loads(done.stdout))
    except ValueError as error:
        raise StoryError(f"nft inside the firewall printed no JSON: {done.stdout[:200]!r}") from error


def count_drops(ruleset: dict[str, Any]) -> int:
    """The packets of every rule that counts and drops, in nft's JSON; named counters are looked up."""
    entries = ruleset.get("nftables", [])
    named = {e["counter"]["name"]: e["counter"].get("packets", 0) for e in entries if "counter" in e}
    total = 0
    for entry in entries:
        statements = entry.get("rule", {}).get("expr", [])
        if not any("drop" in s or "reject" in s for s in statements):
            continue
        for statement in statements:
            counter = statement.get("counter")
            if isinstance(counter, dict):
                total += counter.get("packets", 0)
            elif isinstance(counter, str):
                total += named.get(counter, 0)
    return total

"""What this host lacks for networking: everything is really tried, in a throw-away namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from plugins.local.net import links, netns, nft, rtnl, ruleset, switch, tap
from plugins.local.net.errors import NetError
from plugins.local.net.naming import port_name
from plugins.local.net.ruleset import Chain, Found, Ruleset
from plugins.local.net.specs import Check

_NET_ADMIN_BIT, _SYS_ADMIN_BIT = 12, 21
_ROOT_FIX = "run as root (or with CAP_NET_ADMIN and CAP_SYS_ADMIN)"
_SEARCH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def _capabilities() -> Check:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    held = int(line.split()[1], 16)
    wanted = {"CAP_NET_ADMIN": _NET_ADMIN_BIT, "CAP_SYS_ADMIN": _SYS_ADMIN_BIT}
    lacking = [name for name, bit in wanted.items() if not held >> bit & 1]
    return Check(
        "net-capabilities",
        not lacking,
        f"lacking {', '.join(lacking)}" if lacking else "held",
        _ROOT_FIX if lacking else "",
    )


def _program(name: str, package: str) -> Check:
    found = shutil.which(name, path=_SEARCH)
    if found is None:
        return Check(f"program-{name}", False, "not found", f"apt-get install {package}")
    return Check(f"program-{name}", True, found)


def _attempt(name: str, fix: str, work: Callable[[], str]) -> Check:
    """The outcome of really doing it; the detail is what `work` returned or what it failed with."""
    try:
        return Check(name, True, work())
    except NetError as error:
        return Check(name, False, error.detail, fix)
    except (OSError, subprocess.SubprocessError) as error:
        return Check(name, False, str(error), fix)


def _try_fabric(namespace: str) -> str:
    one, other = port_name("doctor", "one"), port_name("doctor", "other")
    descriptor = os.open(netns.path(namespace), os.O_RDONLY | os.O_CLOEXEC)
    try:
        with netns.route_socket(namespace) as route:
            pair = rtnl.new_pair(one, "02:00:00:00:00:01", 1500, other, "", descriptor)
            route.send([pair, rtnl.set_up(one)])
    finally:
        os.close(descriptor)
    wanted = Ruleset(
        {
            port: Chain((f"counter name {port} meta protocol ip ether daddr set 02:00:00:00:00:01 fwd to {to}",), port)
            for port, to in ((one, other), (other, one))
        },
        counters=frozenset((one, other)),
    )
    indexes = switch.devices(namespace)
    nft.apply(namespace, ruleset.transaction(Found(), wanted, indexes))
    amiss = ruleset.amiss(switch.found_in(namespace), wanted, indexes)
    if amiss:
        raise NetError(f"rules were accepted but chains {', '.join(sorted(amiss))} do not list as they were made")
    return "netdev rules that rewrite and forward frames were accepted"


def _try_tap(namespace: str) -> str:
    os.close(tap.open_tap(namespace, "doctor-tap", "doctor", 1500))
    return f"{tap.DEVICE} gives taps"


def _try_redirect(namespace: str) -> str:
    """Mirred behind u32, else behind a bpf filter: either is enough to cross a guest's tap with a veth."""
    program = shutil.which("tc", path=_SEARCH)
    if program is None:
        raise NetError("tc is not found")

    def call(*arguments: str) -> str:
        command = [program, *arguments]
        done = netns.inside(
            namespace,
            lambda: subprocess.run(command, capture_output=True, text=True, timeout=20, check=False),
        )
        return done.stderr.strip() if done.returncode else ""

    failed = call("qdisc", "add", "dev", "lo", "ingress")
    if failed:
        raise NetError(f"no ingress qdisc: {failed[:300]}")
    action = ["action", "mirred", "egress", "redirect", "dev", "lo"]
    base = ["filter", "add", "dev", "lo", "parent", "ffff:", "protocol", "all"]
    refusals = []
    for name, match in (("u32", ["u32", "match", "u8", "0", "0"]), ("bpf", ["bpf", "bytecode", "1,6 0 0 65535"])):
        refused = call(*base, *match, *action)
        if not refused:
            return f"{name} with mirred was accepted"
        refusals.append(f"{name}: {refused[:200]}")
    raise NetError("; ".join(refusals))


def _try_vlan(namespace: str) -> str:
    with netns.route_socket(namespace) as route:
        route.send([rtnl.new_vlan("doctor-vlan", 1, 100)])
    return "VLAN devices can be made"


def checks() -> list[Check]:
    """One line for each need. What is not `required` is only good to know. Leaves nothing behind."""
    found = [
        _capabilities(),
        _program("ip", "iproute2"),
        _program("nft", "nftables"),
        _program("tc", "iproute2"),
    ]
    namespace = f"vnfm-doctor-{os.getpid()}"
    made = _attempt("network-namespace", _ROOT_FIX, lambda: _make(namespace))
    found.append(made)
    if made.ok:
        try:
            found += _tries(namespace)
        finally:
            links.remove_namespace(namespace)
    vhost = Path("/dev/vhost-net").exists()
    found.append(
        Check("vhost-net", vhost, "there" if vhost else "not there: guests are served by qemu", required=False)
    )
    return found


def _make(namespace: str) -> str:
    links.remove_namespace(namespace)  # of a doctor of the same process id that was killed
    netns.ensure(namespace, links.quiet_carrier)
    return "can be made"


def _tries(namespace: str) -> list[Check]:
    kernel = "use a kernel with nf_tables netdev and fwd (Debian's has them as modules: modprobe nft_fwd_netdev)"
    vlan = _attempt("vlan-8021q", "modprobe 8021q", lambda: _try_vlan(namespace))
    return [
        _attempt("tun", "modprobe tun; or allow the container /dev/net/tun", lambda: _try_tap(namespace)),
        _attempt("nft-steering", kernel, lambda: _try_fabric(namespace)),
        _attempt("tc-redirect", "modprobe cls_u32 act_mirred sch_ingress", lambda: _try_redirect(namespace)),
        Check(vlan.name, vlan.ok, vlan.detail, vlan.fix, required=False),
    ]

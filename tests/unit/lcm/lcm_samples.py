"""VNFDs, hosts and chains for planning and recipes."""

from __future__ import annotations

from dataclasses import replace

from vnfm.graph.chainfile import read_chain
from vnfm.lcm.planning import Planned, plan_chain
from vnfm.lcm.shapes import PackageFacts
from vnfm.model.chain import ServiceChain
from vnfm.model.connectivity import Cpd, ExtCpd, VirtualLinkDesc
from vnfm.model.needs import Isolation, Needs
from vnfm.model.placement import Runtime
from vnfm.model.policies import InstantiationLevel
from vnfm.model.vdu import Container, ImageFormat, SwImage, Vdu
from vnfm.model.vnfd import Flavour, Vnfd
from vnfm.placement.inventory import Cell, Host, RuntimeCost
from vnfm.placement.snapshot import Snapshot

OPERATION = "11111111-1111-4111-8111-111111111111"
IMAGE = SwImage("img", "1", ImageFormat.OCI_ARCHIVE, "Files/img.tar", "aa" * 32, 8)
MIB = 1 << 20


def vnfd(
    name: str, level: Isolation = Isolation.TENANT, backs: int = 1, cidr: str = "", image: SwImage | None = IMAGE
) -> Vnfd:
    """`front` with two external CPs, and `backs` instances of `back` behind it on an internal link."""
    container = Container("c", image, cpu_milli=10, memory_bytes=16 * MIB)
    front = Vdu("front", "front", "", 10, 16 * MIB, 0, Needs(isolation=level), containers=(container,))
    back = replace(front, id="back", name="back")
    flavour = Flavour(
        "default",
        vdus=(front, back),
        cps=(
            Cpd("left", "front", "", 0),
            Cpd("right", "front", "", 1),
            Cpd("in", "front", "vl", 2),
            Cpd("b", "back", "vl", 0),
        ),
        virtual_links=(VirtualLinkDesc("vl", cidrs=(cidr,) if cidr else ()),),
        external_cps=(ExtCpd("left", "left"), ExtCpd("right", "right")),
        instantiation_levels=(InstantiationLevel("big", {"front": 1, "back": backs}, default=True),),
    )
    return Vnfd(name, "tests", name, "1", "1", (flavour,))


def hosts(count: int = 2, *, vim: str = "m", runtimes: frozenset[Runtime] = frozenset(Runtime)) -> Snapshot:
    """Roomy hosts that offer everything."""
    return Snapshot.of(
        1,
        [
            Host(
                id=f"h{n}",
                vim=vim,
                cells=(Cell(16_000, 32 << 30),),
                runtimes=runtimes,
                costs={r: RuntimeCost(10, MIB, 5) for r in runtimes},
                arch="x86_64",
            )
            for n in range(count)
        ],
    )


def chain(*aliases: str, extra: str = "", per_vnf: str = "") -> ServiceChain:
    vnfs = ", ".join(f"{a}: {{vnfd: {a}{per_vnf}}}" for a in aliases)
    text = f"""
chain: c
ends: {{client: {{cidr: 10.1.0.0/24}}, server: {{cidr: 10.9.0.0/24}}}}
vnfs: {{{vnfs}}}
path: [client, {", ".join(aliases)}, server]
{extra}
"""
    return read_chain(text.encode(), "chain.yaml")


def packages(*vnfds: Vnfd, held: bool = True) -> dict[str, PackageFacts]:
    return {v.id: PackageFacts(f"pkg-{v.id}", v, {IMAGE.path: IMAGE.sha256} if held else {}) for v in vnfds}


def planned(
    what: ServiceChain, known: dict[str, PackageFacts], snapshot: Snapshot | None = None, operation: str = OPERATION
) -> Planned:
    ids = {v.alias: f"instance-{v.alias}" for v in what.vnfs}
    return plan_chain(what, known, snapshot or hosts(), operation_id=operation, tenant="t", instance_ids=ids, absent={})

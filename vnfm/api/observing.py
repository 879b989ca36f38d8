"""What can be seen of VNFs and chains while they run: counters, captures, traces, each asked of the VIM."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Any

from vnfm.api.counting import Counted, Rates, chain_stats, joined, vnf_stats
from vnfm.api.targets import choose_vnfc, find_cp, find_vnf, matching_vnfcs
from vnfm.api.views import probe_document, struct
from vnfm.lcm.actions import describe_break
from vnfm.lcm.borders import is_further_piece, pieces_of
from vnfm.lcm.ports import Clock, Vims
from vnfm.lcm.probing import probe
from vnfm.lcm.steps import PathPiece, ProbeOrder
from vnfm.model.codec import encode
from vnfm.model.lcm import VnfInstance
from vnfm.model.problem import ProblemError, Retry, problem
from vnfm.model.resources import CaptureOrder, Handle, Owner, ProbeResult, ResourceKind, StatsSample
from vnfm.pb.nfvo.v1 import nfvo_pb2 as pb
from vnfm.store.orders import ChainRecord, OrderStore
from vnfm.store.packages import PackageStore
from vnfm.store.resources import KnownResource, ResourceStore

INTERVAL_MS = 1000
LEAST_INTERVAL_MS = 100
PROBE_PACKETS = 5
TRACE_PACKETS = 3
PROBE_PATIENCE_S = 5.0
AGAIN_S = 0.5  # before a VIM that was lost is asked again


class Observations:
    """Finds what is meant and passes on what the VIM sees."""

    def __init__(
        self, orders: OrderStore, packages: PackageStore, resources: ResourceStore, vims: Vims, clock: Clock
    ) -> None:
        self._orders = orders
        self._packages = packages
        self._resources = resources
        self._vims = vims
        self._clock = clock

    async def vnf_stats(self, tenant: str, request: pb.WatchStatsRequest) -> AsyncIterator[pb.Document]:
        """A document a sample; VNFCs that come and go are followed."""
        instance = await find_vnf(self._orders, tenant, request.ref)
        vims = {v.vim for v in instance.vnfcs}
        if not vims:
            raise problem("conflict", f"VNF {instance.name} is not instantiated", instance=instance.id)
        rates = Rates()
        owner = Owner(tenant, instance.chain_id, instance.id)
        async for sample in self._samples(vims, owner, request):
            instance = await self._orders.vnf(tenant, instance.id)
            yield pb.Document(body=struct(vnf_stats(sample, instance, rates)))

    async def chain_stats(self, tenant: str, request: pb.WatchStatsRequest) -> AsyncIterator[pb.Document]:
        """A document a sample; what comes and goes in the chain is followed."""
        chain = await self._orders.chain(tenant, request.ref)
        vims = {r.vim for r in await self._instantiated(chain)}
        rates = Rates()
        async for sample in self._samples(vims, Owner(tenant, chain.id), request):
            instances = await self._orders.vnfs(tenant, chain.id)
            counted = _counted(await self._resources.of_subject(chain.id))
            yield pb.Document(body=struct(chain_stats(sample, chain.name, instances, counted, rates)))

    async def capture(self, tenant: str, request: pb.CaptureVnfRequest) -> AsyncIterator[pb.CaptureChunk]:
        """One pcap file in pieces."""
        instance = await find_vnf(self._orders, tenant, request.ref)
        vnfcs, cp_id = instance.vnfcs, ""
        if request.cp:
            cpd = await self._cp(instance, request.cp)
            cp_id, vnfcs = cpd.id, tuple(matching_vnfcs(instance.vnfcs, cpd.vdu_id))
        vnfc = choose_vnfc(vnfcs, request.vnfc, instance.name)
        known = {r.id: r.handle for r in await self._resources.of_subject(instance.chain_id or instance.id)}
        order = CaptureOrder(cp_id, request.snap_bytes, request.max_packets, seconds=float(request.seconds))
        owner = Owner(tenant, instance.chain_id, instance.id)
        pieces = self._vims.get(vnfc.vim).capture(known.get(vnfc.id) or Handle(vnfc.id), owner, order)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                yield pb.CaptureChunk(pcap=piece)

    async def probe(self, chain: ChainRecord, packets: int) -> None:
        """Send packets along every path and record what was counted. Raises ProblemError `path-broken` after all."""
        broken = []
        for path in _wholes(await self._instantiated(chain)):
            result = await self._probe_path(chain, path, packets or PROBE_PACKETS, False)
            await self._orders.record_probe(chain.id, path_name(path), self._clock(), encode(result))
            if not result.unsupported and not result.complete:
                broken.append(f"path {path_name(path)}: {describe_break(result)}")
        if broken:
            raise problem("path-broken", "; ".join(broken), instance=chain.name)

    async def trace(self, tenant: str, request: pb.TraceChainRequest) -> pb.Document:
        """Where and when a packet was seen on each path, there and back."""
        chain = await self._orders.chain(tenant, request.ref)
        paths = _wholes(await self._instantiated(chain))
        chosen = [p for p in paths if request.path in ("", path_name(p))]
        if not chosen:
            known = ", ".join(path_name(p) for p in paths)
            raise problem(
                "not-found", f"chain {chain.name} has no path {request.path!r}; it has: {known}", instance=request.path
            )
        traced = [trace_document(path_name(p), await self._probe_path(chain, p, TRACE_PACKETS, True)) for p in chosen]
        return pb.Document(body=struct({"chain": chain.name, "paths": traced}))

    async def _probe_path(self, chain: ChainRecord, path: KnownResource, packets: int, trace: bool) -> ProbeResult:
        owner = Owner(chain.tenant, chain.id)
        known = {r.id: r.handle for r in await self._resources.of_subject(chain.id)}
        there = chain.realization
        pieces = [p for name in pieces_of(path_name(path), [p.name for p in there.paths]) if (p := there.path(name))]
        beyond = tuple(PathPiece(p.vim, p.spec.resource_id) for p in pieces[1:])
        sap = there.sap(pieces[-1].spec.hops[-1].name) if beyond else None
        destination = sap.spec.port.ips[0].split("/")[0] if sap and sap.spec.port.ips else ""
        order = ProbeOrder(path.id, packets, PROBE_PATIENCE_S, beyond, destination)
        return await probe(self._vims, path.vim, order, owner, lambda i: known.get(i) or Handle(i), trace=trace)

    async def _instantiated(self, chain: ChainRecord) -> list[KnownResource]:
        known = await self._resources.of_subject(chain.id)
        if not any(r.kind is ResourceKind.PATH for r in known):
            raise problem("conflict", f"chain {chain.name} is not instantiated", instance=chain.id)
        return known

    async def _cp(self, instance: VnfInstance, wanted: str) -> Any:
        found = (await self._packages.by_vnfd(instance.tenant, [instance.vnfd_id])).get(instance.vnfd_id)
        flavour = found.vnfd.flavour(instance.flavour_id) if found else None
        if flavour is None:
            raise problem(
                "unknown-vnfd",
                f"the package of VNF {instance.name} is not enabled, so its connection points are not known: "
                f"`vnfm package enable {instance.package_id[:8]}`",
                instance=instance.id,
            )
        return find_cp(flavour, wanted, instance.name)

    async def _samples(self, vims: set[str], owner: Owner, request: pb.WatchStatsRequest) -> AsyncIterator[StatsSample]:
        interval_ms = max(request.interval_ms or INTERVAL_MS, LEAST_INTERVAL_MS)
        streams = [self._of_vim(vim, owner, interval_ms, request.count) for vim in sorted(vims)]
        async with contextlib.AsyncExitStack() as stack:
            for stream in streams:
                await stack.enter_async_context(contextlib.aclosing(stream))
            while True:
                parts = await asyncio.gather(*(anext(s, None) for s in streams))
                if not (there := [p for p in parts if p]):
                    return
                yield joined(there)

    async def _of_vim(self, vim: str, owner: Owner, interval_ms: int, count: int) -> AsyncGenerator[StatsSample, None]:
        """Samples of one VIM, over its plugin's restarts."""
        seen = 0
        while True:
            stream = self._vims.get(vim).watch_stats(owner, (), interval_ms, count - seen if count else 0)
            try:
                async with contextlib.aclosing(stream):
                    async for sample in stream:
                        seen += 1
                        yield sample
                return
            except ProblemError as error:
                if error.problem.retry is not Retry.SAME_CALL or not seen:
                    raise
            await asyncio.sleep(AGAIN_S)


def path_name(path: KnownResource) -> str:
    """A path's name in its chain."""
    return path.name.removeprefix("path ")


def _paths(known: Sequence[KnownResource]) -> list[KnownResource]:
    return sorted((r for r in known if r.kind is ResourceKind.PATH), key=path_name)


def _wholes(known: Sequence[KnownResource]) -> list[KnownResource]:
    """Paths by their first pieces."""
    return [p for p in _paths(known) if not is_further_piece(path_name(p))]


def _counted(known: Sequence[KnownResource]) -> Counted:
    ends = {r.id: r.name.removeprefix("end ") for r in known if r.kind is ResourceKind.SAP}
    return Counted(ends, {p.id: path_name(p).partition("/")[0] for p in _paths(known)})


def trace_document(path: str, result: ProbeResult) -> Mapping[str, Any]:
    """docs/surface.md, "chain trace": one path."""
    counts = probe_document({"at": "", **encode(result)}) or {}
    return {
        "path": path,
        "complete": result.complete,
        "rtt_us": result.rtt_us,
        "unsupported": result.unsupported,
        "broken": "" if result.complete or result.unsupported else describe_break(result),
        "hops": [
            {
                "name": p.hop,
                "cp": p.cp_id,
                "resource_id": p.resource_id,
                "direction": "return" if p.reply else "forward",
                "event": "leaves" if p.leaving else "arrives",
                "at_us": round(p.at_ns / 1000, 3),
            }
            for p in result.passings
        ],
        "counts": counts.get("hops", []),
    }

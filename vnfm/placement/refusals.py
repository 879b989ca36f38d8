"""Why a chain cannot be placed: proofs, the cheap ones first, and which is the smallest change that would help.

What is not proved is told as not found, never as impossible. A change is told only after it was tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from vnfm.placement.ahead import Horizon
from vnfm.placement.ask import Ask
from vnfm.placement.book import Book
from vnfm.placement.counts import filter_counts, ground_of, variants_refused
from vnfm.placement.domains import Domains, Impossible
from vnfm.placement.estate import CPU, GPUS, HUGEPAGES, MEMORY, VFS
from vnfm.placement.exhaust import Exhaust, unmatched
from vnfm.placement.statement import Chain, Vnf

STEPS = 150  # of the exhaustive search
ANY_LATENCY = 1 << 45
TRIES = 3  # changes tried
NOT_FOUND = "not found"


@dataclass(frozen=True, slots=True)
class Reason:
    """`proof` is empty where nothing was proved; `minimal_change` was tried, or says that none was found."""

    proof: str
    detail: str
    facts: dict[str, object]
    minimal_change: str

    def as_dict(self) -> dict[str, object]:
        """In the answer's words."""
        head: dict[str, object] = {"proof": self.proof or None, "detail": self.detail}
        return head | self.facts | {"minimal_change": self.minimal_change}


def proof_of(ask: Ask, book: Book, horizon: Horizon, steps: int = STEPS) -> Impossible | None:
    """Why the chain cannot be placed on the book as it is; None where that is not proved."""
    for v, kind in enumerate(ask.kinds):
        if not kind.ways:
            found = _no_way(ask, book, v)
            if found:
                return found
    domains = Domains(ask, book, horizon)
    for v, domain in enumerate(domains.of):
        if not domain.any():
            return _no_host(ask, book, v)
    found = domains.narrow()
    if found:
        return found
    apart = unmatched(domains)
    if apart:
        scope, names = apart
        text = f"{', '.join(names)} must not share a {scope.value}, and there are not enough for them"
        return Impossible("rules", text, {"anti-affinity": scope.value, "vnfs": names})
    if Exhaust(domains, steps).fails():
        return Impossible("combination", "each VNF has hosts, but all ways to seat them together were tried")
    return None


def _no_way(ask: Ask, book: Book, v: int) -> Impossible | None:
    vnf = ask.chain.vnfs[v]
    if ground_of(book).serving(vnf):
        return None
    reasons = variants_refused(book, vnf)
    text = f"{vnf.id}: no realization: " + "; ".join(f"{name}: {why}" for name, why in reasons.items())
    return Impossible("realization", text, {"vnf": vnf.id, "realizations": reasons})


def _no_host(ask: Ask, book: Book, v: int) -> Impossible:
    vnf = ask.chain.vnfs[v]
    counts = filter_counts(book, vnf, ask.tenant)
    causes = ", ".join(f"{n} {cause}" for cause, n in counts.items() if cause not in ("nodes", "left") and n)
    return Impossible("host", f"{vnf.id}: no host: {causes}", {"vnf": vnf.id, "filters": counts})


# ---- the smallest change ----


Admits = Callable[[Chain], Mapping[str, int] | None]  # latencies of the links as placed, None where it is not


def smallest_change(chain: Chain, book: Book, tenant: int, why: Impossible | None, admits: Admits) -> str:
    """The first change of the request that admits the chain, told in words; each is tried by `admits`."""
    for text, changed in islice(_changes(chain, book, tenant, why), TRIES):
        found = admits(changed)
        if found is not None:
            return text if text else _latency_met(chain, found)
    return NOT_FOUND


def _changes(chain: Chain, book: Book, tenant: int, why: Impossible | None) -> Iterator[tuple[str, Chain]]:
    proof, facts = (why.proof, why.facts) if why is not None else ("", {})
    if proof == "latency" and "least" in facts:
        names, least = facts["vlinks"], facts["least"]
        if isinstance(names, list) and isinstance(least, int):
            yield f"limit of {' + '.join(names)} >= {least} us", _slower(chain, set(names), least)
    if proof in ("realization", "host"):
        at = next((i for i, v in enumerate(chain.vnfs) if v.id == facts["vnf"]), None)
        if at is not None:
            yield from _relaxed(chain, book, tenant, at)
    if proof == "licence":
        names = {v.id for v in chain.vnfs if v.licence == facts["licence"]}
        vnfs = tuple(replace(v, licence=None) if v.id in names else v for v in chain.vnfs)
        yield f"a further token of {facts['licence']}", replace(chain, vnfs=vnfs)
    if proof == "bandwidth":
        yield from _thinner(chain)
    if proof in ("latency", "combination", "") and (
        chain.paths or any(x.max_latency_us is not None for x in chain.vlinks)
    ):
        yield "", _slower(chain, None, ANY_LATENCY)
    if proof in ("rules", "combination", ""):
        yield from _unruled(chain, set(facts.get("vnfs", ())))  # type: ignore[call-overload]
    if proof in ("combination", ""):
        yield from _thinner(chain)


def _unruled(chain: Chain, names: set[str]) -> Iterator[tuple[str, Chain]]:
    for i, rule in enumerate(chain.rules):
        if not names or set(rule.vnfs) & names:
            text = f"without {rule.kind.value} ({rule.scope.value}) of {', '.join(rule.vnfs)}"
            yield text, replace(chain, rules=chain.rules[:i] + chain.rules[i + 1 :])


def _slower(chain: Chain, names: set[str] | None, least: int) -> Chain:
    """The chain with `least` as the bound of these links together; None: of all that are bounded."""
    vlinks = tuple(
        x._replace(max_latency_us=least)
        if x.max_latency_us is not None and x.max_latency_us < least and (names is None or {x.id} == names)
        else x
        for x in chain.vlinks
    )
    paths = tuple(
        p._replace(max_latency_us=least)
        if p.max_latency_us < least and (names is None or set(p.vlinks) == names)
        else p
        for p in chain.paths
    )
    return replace(chain, vlinks=vlinks, paths=paths)


def _latency_met(chain: Chain, latency: Mapping[str, int]) -> str:
    """The bounds that would have had to be wider for what was placed without them."""
    told = [
        f"limit of {x.id} >= {latency[x.id]} us"
        for x in chain.vlinks
        if x.max_latency_us is not None and latency[x.id] > x.max_latency_us
    ]
    for p in chain.paths:
        total = sum(latency[x] for x in p.vlinks)
        if total > p.max_latency_us:
            told.append(f"limit of {' + '.join(p.vlinks)} >= {total} us")
    return " and ".join(told) if told else NOT_FOUND


def _thinner(chain: Chain) -> Iterator[tuple[str, Chain]]:
    most = max((x.bandwidth_mbps for x in chain.vlinks), default=0)
    for part in dict.fromkeys((most // 2, most // 10)):
        if part < most:
            wide = [x.id for x in chain.vlinks if x.bandwidth_mbps > part]
            vlinks = tuple(x._replace(bandwidth_mbps=min(part, x.bandwidth_mbps)) for x in chain.vlinks)
            yield f"bandwidth of {', '.join(wide)} <= {part} Mbit/s", replace(chain, vlinks=vlinks)


def _relaxed(chain: Chain, book: Book, tenant: int, at: int) -> Iterator[tuple[str, Chain]]:
    """One need of one VNF given up, the ones that open a host for it alone first tested on the hosts themselves."""
    vnf = chain.vnfs[at]
    for text, relaxed in _less_needy(vnf, book):
        if filter_counts(book, relaxed, tenant)["left"]:
            yield f"{vnf.id}: {text}", replace(chain, vnfs=(*chain.vnfs[:at], relaxed, *chain.vnfs[at + 1 :]))


def _less_needy(vnf: Vnf, book: Book) -> Iterator[tuple[str, Vnf]]:
    reals = book.estate.variants
    if vnf.max_start_ms is not None:
        for start in sorted({r.start_ms for r in reals if r.start_ms > vnf.max_start_ms}):
            yield f"start bound >= {start} ms", replace(vnf, max_start_ms=start)
    if vnf.max_hop_us is not None:
        yield "no latency bound of its own", replace(vnf, max_hop_us=None)
    for name in sorted({r.name for r in reals} - set(vnf.artefacts)):
        yield f"an artefact for {name}", replace(vnf, artefacts=(*vnf.artefacts, name))
    for level in range(vnf.isolation - 1, -1, -1):
        yield f"isolation <= {level}", replace(vnf, isolation=level)
    if vnf.sites is not None:
        yield "other sites", replace(vnf, sites=None)
    if vnf.zones is not None:
        yield "other zones", replace(vnf, zones=None)
    for level in range(vnf.trust - 1, -1, -1):
        yield f"trust >= {level} suffices", replace(vnf, trust=level)
    if vnf.numa_strict:
        yield "not bound to one NUMA cell", replace(vnf, numa_strict=False)
    if vnf.pin:
        yield "no pinned CPUs", replace(vnf, pin=False)
    if vnf.own_os:
        yield "no operating system of its own", replace(vnf, own_os=False)
    if vnf.own_kernel:
        yield "no kernel of its own", replace(vnf, own_kernel=False)
    yield from _smaller(vnf, book)


def _smaller(vnf: Vnf, book: Book) -> Iterator[tuple[str, Vnf]]:
    """Less of one resource: what the best host has left beside the least overhead, then parts of what is asked."""
    reals = book.estate.variants

    def parts(value: int, resource: int, overhead: int = 0) -> list[int]:
        most = int(book.free[resource].max(initial=0)) - overhead
        return [p for p in dict.fromkeys((most, value * 3 // 4, value // 2, value // 4, 0)) if 0 <= p < value]

    cpu, memory = min((r.cpu_milli for r in reals), default=0), min((r.memory_mib for r in reals), default=0)
    yield from ((f"gpus <= {p}", replace(vnf, gpus=p)) for p in parts(vnf.gpus, GPUS))
    yield from ((f"vfs <= {p}", replace(vnf, vfs=p)) for p in parts(vnf.vfs, VFS))
    huge = parts(vnf.hugepages_mib, HUGEPAGES)
    yield from ((f"hugepages <= {p} MiB", replace(vnf, hugepages_mib=p)) for p in huge)
    yield from ((f"memory <= {p} MiB", replace(vnf, memory_mib=p)) for p in parts(vnf.memory_mib, MEMORY, memory))
    yield from ((f"cpu <= {p} mCPU", replace(vnf, cpu_milli=p)) for p in parts(vnf.cpu_milli, CPU, cpu))

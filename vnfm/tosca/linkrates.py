"""Bit rates of virtual links at levels and steps (SOL001 6.10.3, 6.10.6, 6.10.8)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from vnfm.model.connectivity import Bitrate, VirtualLinkDesc
from vnfm.model.policies import ScalingAspect
from vnfm.tosca.kinds import LINK
from vnfm.tosca.network import bitrate
from vnfm.tosca.operations import names
from vnfm.tosca.template import Entity, Template

_BASE = "tosca.policies.nfv."


def with_rates(
    template: Template,
    links: Sequence[VirtualLinkDesc],
    aspects: Sequence[ScalingAspect],
    steps: Mapping[str, tuple[str, ...]],
) -> tuple[VirtualLinkDesc, ...]:
    """The links with what policies say of their bit rates; `steps` are each aspect's names of steps."""
    found = {link.id: link for link in links}
    for policy in template.policies_of(_BASE + "VirtualLinkInstantiationLevels"):
        levels = {
            name: bitrate(view.sub("bitrate_requirements"))
            for name, view in template.properties(policy).named("levels")
        }
        for link in _targets(template, policy, found):
            found[link.id] = replace(link, levels={**link.levels, **levels})
    for policy in template.policies_of(_BASE + "VirtualLinkBitrateInitialDelta"):
        delta = template.properties(policy).sub("initial_delta").sub("bitrate_requirements")
        for link in _targets(template, policy, found):
            found[link.id] = replace(link, initial_bitrate=bitrate(delta))
    known = {a.id: a for a in aspects}
    for policy in template.policies_of(_BASE + "VirtualLinkBitrateScalingAspectDeltas"):
        view = template.properties(policy)
        name = view.text("aspect")
        if name not in known:
            continue  # which the policies' reader says
        rates = {key: bitrate(d.sub("bitrate_requirements")) for key, d in view.named("deltas")}
        order = steps.get(name) or tuple(rates)
        order = order * known[name].max_level if len(order) == 1 else order
        added = tuple(rates.get(step, Bitrate()) for step in order)
        for link in _targets(template, policy, found):
            found[link.id] = replace(link, step_bitrates={**link.step_bitrates, name: added})
    return tuple(found.values())


def _targets(template: Template, policy: Entity, links: Mapping[str, VirtualLinkDesc]) -> Iterator[VirtualLinkDesc]:
    for name in names(policy.body.get("targets")):
        if template.is_node(name, LINK):
            yield links[name]
        else:
            template.notes.warn(
                "target-unknown",
                f"{policy.name} is about {name}, which is no virtual link",
                policy.body.place("targets"),
            )

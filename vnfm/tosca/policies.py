"""Scaling, sizes and affinity (SOL001 6.10). The count at level L is the initial delta and the first L step deltas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vnfm.model.vnfd import AffinityRule, InstantiationLevel, PlacementGroup, ScalingAspect, Vdu
from vnfm.tosca.network import LINK
from vnfm.tosca.operations import names
from vnfm.tosca.template import Entity, Template
from vnfm.tosca.types import GROUP
from vnfm.tosca.vdus import COMPUTE, OS_CONTAINER, STORAGES, UNIT
from vnfm.tosca.view import View

_BASE = "tosca.policies.nfv."
SCOPES = ("nfvi_node", "zone", "zone_group", "nfvi_pop", "network_link_and_node")
MAX_LEVELS = 10_000
PLACED = (COMPUTE, UNIT, LINK, OS_CONTAINER, "tosca.nodes.nfv.Mciop", *STORAGES)  # what affinity may be about


@dataclass
class _Aspect:
    view: View
    max_level: int
    steps: tuple[str, ...]
    deltas: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class PolicyReader:
    """Reads the policies of a template whose VDUs are known."""

    template: Template
    vdus: Sequence[Vdu]

    def with_initial(self) -> tuple[Vdu, ...]:
        """The VDUs with their counts at level 0."""
        initial: dict[str, int] = {}
        for policy in self.template.policies_of(_BASE + "VduInitialDelta"):
            count = self.template.properties(policy).sub("initial_delta").whole("number_of_instances", -1)
            if count >= 0:
                initial |= dict.fromkeys(self._vdu_targets(policy), count)
        return tuple(
            replace(v, initial_instances=initial[v.id], max_instances=max(v.max_instances, initial[v.id]))
            if v.id in initial
            else v
            for v in self.vdus
        )

    def aspects(self) -> tuple[ScalingAspect, ...]:
        """Every scaling aspect with what each of its steps adds."""
        aspects: dict[str, _Aspect] = {}
        for policy in self.template.policies_of(_BASE + "ScalingAspects"):
            for name, view in self.template.properties(policy).children("aspects"):
                level = view.whole("max_scale_level")
                if level > MAX_LEVELS:
                    view.notes.error("value-range", f"{view.path}: at most {MAX_LEVELS} levels", view.at())
                    level = 0
                aspects[name] = _Aspect(view, level, view.texts("step_deltas"))
        for policy in self.template.policies_of(_BASE + "VduScalingAspectDeltas"):
            self._add_deltas(policy, aspects)
        return tuple(
            ScalingAspect(name, a.max_level, a.view.text("name"), a.view.text("description"), a.deltas)
            for name, a in aspects.items()
        )

    def steps(self) -> dict[str, tuple[str, ...]]:
        """The names of each aspect's steps."""
        return {
            name: view.texts("step_deltas")
            for policy in self.template.policies_of(_BASE + "ScalingAspects")
            for name, view in self.template.properties(policy).children("aspects")
        }

    def groups(self) -> tuple[PlacementGroup, ...]:
        """Every placement group."""
        found = []
        for group in self.template.groups.values():
            if self.template.types.is_a(GROUP, group.type, "tosca.groups.nfv.PlacementGroup"):
                members = names(group.body.get("members"))
                for name in members:
                    if name not in self.template.nodes:
                        self.template.notes.error(
                            "target-unknown",
                            f"{group.name} has the member {name}, which is no node",
                            group.body.place("members"),
                        )
                description = self.template.properties(group).text("description")
                found.append(PlacementGroup(group.name, members, description))
        return tuple(found)

    def levels(self, aspects: Sequence[ScalingAspect], vdus: Sequence[Vdu]) -> tuple[InstantiationLevel, ...]:
        """Every instantiation level with each VDU's count: as written, else from the levels of the aspects."""
        written = self._written_counts()
        by_name = {a.id: a for a in aspects}
        found: dict[str, InstantiationLevel] = {}
        default, default_view = "", None
        for policy in self.template.policies_of(_BASE + "InstantiationLevels"):
            properties = self.template.properties(policy)
            if "default_level" in properties:
                default, default_view = properties.text("default_level"), properties
            for name, view in properties.children("levels"):
                scale = self._scale_levels(view, by_name)
                counts = {v.id: count_at(v, aspects, scale) for v in vdus} | written.pop(name, {})
                self._within(view, vdus, counts)
                found[name] = InstantiationLevel(name, counts, scale, description=view.text("description"))
        for name, counts in written.items():
            if found:
                self.template.notes.error(
                    "level-unknown",
                    f"VduInstantiationLevels names the level {name}, which is not defined",
                    self.template.topology.place("policies"),
                )
            else:  # some write only the VDUs' side
                found[name] = InstantiationLevel(name, {v.id: v.initial_instances for v in vdus} | counts, {})
        if default_view is not None and default not in found:
            default_view.notes.error(
                "level-unknown", f"default_level {default} is not defined", default_view.at("default_level")
            )
        if not default and len(found) == 1:
            default = next(iter(found))
        return tuple(replace(level, default=level.id == default) for level in found.values())

    def affinity(self) -> tuple[AffinityRule, ...]:
        """Every affinity and anti-affinity rule, its groups written out."""
        found = []
        for anti, base in ((False, "AffinityRule"), (True, "AntiAffinityRule")):
            for policy in self.template.policies_of(_BASE + base):
                properties = self.template.properties(policy)
                scope = properties.text("scope").lower().replace("-", "_")
                if scope not in SCOPES:
                    properties.notes.error(
                        "value-enum",
                        f"{properties.path}.scope: {scope!r} is none of {', '.join(SCOPES)}",
                        properties.at("scope"),
                    )
                    continue
                targets = self._affinity_targets(policy)
                links = tuple(n for n in targets if self.template.is_node(n, LINK))
                by = tuple(n for n in names(policy.body.get("targets")) if n in self.template.groups)
                found.append(AffinityRule(policy.name, anti, scope, targets, by, links))
        return tuple(found)

    def _add_deltas(self, policy: Entity, aspects: dict[str, _Aspect]) -> None:
        properties = self.template.properties(policy)
        name = properties.text("aspect")
        aspect = aspects.get(name)
        if aspect is None:
            properties.notes.error(
                "aspect-unknown",
                f"{policy.name}: the scaling aspect {name!r} is not defined",
                properties.at("aspect"),
                "define it in a policy of the type ScalingAspects",
            )
            return
        counts = {key: view.whole("number_of_instances") for key, view in properties.children("deltas")}
        steps = aspect.steps or tuple(counts)
        unknown = sorted(set(counts) - set(steps))
        if unknown:
            properties.notes.warn(
                "delta-unused", f"{policy.name}: no step of {name} is {', '.join(unknown)}", properties.at("deltas")
            )
        if len(steps) == 1:  # a uniform aspect names its one delta once
            steps = steps * aspect.max_level
        elif len(steps) != aspect.max_level:
            properties.notes.error(
                "step-deltas",
                f"{name} has {aspect.max_level} steps and {len(steps)} step_deltas",
                aspect.view.at("step_deltas"),
                "name one delta for all steps, or one for each",
            )
            return
        missing = sorted(set(steps) - set(counts))
        if missing:
            properties.notes.warn(
                "delta-missing",
                f"{policy.name}: nothing is said of {', '.join(missing)}, taken as 0",
                properties.at("deltas"),
            )
        for vdu in self._vdu_targets(policy):
            aspect.deltas[vdu] = tuple(counts.get(step, 0) for step in steps)

    def _written_counts(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for policy in self.template.policies_of(_BASE + "VduInstantiationLevels"):
            targets = self._vdu_targets(policy)
            for level, view in self.template.properties(policy).children("levels"):
                count = view.whole("number_of_instances")
                found.setdefault(level, {}).update(dict.fromkeys(targets, count))
        return found

    def _scale_levels(self, view: View, aspects: dict[str, ScalingAspect]) -> dict[str, int]:
        levels = dict.fromkeys(aspects, 0)
        for name, info in view.children("scale_info"):
            level = info.whole("scale_level")
            if name not in aspects:
                info.notes.error("aspect-unknown", f"{view.path}: the scaling aspect {name} is not defined", info.at())
            elif level > aspects[name].max_level:
                info.notes.error(
                    "scale-level",
                    f"{view.path}: {name} has {aspects[name].max_level} levels, not {level}",
                    info.at("scale_level"),
                )
            else:
                levels[name] = level
        return levels

    @staticmethod
    def _within(view: View, vdus: Sequence[Vdu], counts: dict[str, int]) -> None:
        for vdu in vdus:
            if not vdu.min_instances <= counts.get(vdu.id, vdu.min_instances) <= vdu.max_instances:
                view.notes.warn(
                    "level-range",
                    f"{view.path}: {counts[vdu.id]} of {vdu.id}, whose profile allows {vdu.min_instances} to"
                    f" {vdu.max_instances}",
                    view.at(),
                )

    def _vdu_targets(self, policy: Entity) -> list[str]:
        return [n for n in self._targets(policy) if self._is(policy, n, "VDU", COMPUTE, UNIT)]

    def _affinity_targets(self, policy: Entity) -> tuple[str, ...]:
        found: list[str] = []
        for target in self._targets(policy):
            group = self.template.groups.get(target)
            members = names(group.body.get("members")) if group is not None else (target,)
            found += [n for n in members if self._is(policy, n, "VDU or virtual link", *PLACED)]
        if len(found) == 1 and not self._several(found[0]):
            self.template.notes.warn(
                "affinity-single",
                f"{policy.name} is about {found[0]} alone, of which there is one instance",
                policy.body.place("targets"),
            )
        if not found and not self._targets(policy):
            self.template.notes.warn("affinity-empty", f"{policy.name} is about nobody", policy.body.place())
        return tuple(dict.fromkeys(found))

    def _several(self, name: str) -> bool:
        return next((v.max_instances > 1 for v in self.vdus if v.id == name), True)

    def _targets(self, policy: Entity) -> tuple[str, ...]:
        return names(policy.body.get("targets"))

    def _is(self, policy: Entity, name: str, what: str, *bases: str) -> bool:
        if self.template.is_node(name, *bases):
            return True
        self.template.notes.error(
            "target-unknown", f"{policy.name} is about {name}, which is no {what}", policy.body.place("targets")
        )
        return False


def count_at(vdu: Vdu, aspects: Sequence[ScalingAspect], scale: dict[str, int]) -> int:
    """A VDU's number of instances at the given level of each aspect."""
    return vdu.initial_instances + sum(sum(a.step_deltas.get(vdu.id, ())[: scale.get(a.id, 0)]) for a in aspects)

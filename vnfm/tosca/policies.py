"""Scaling, sizes and affinity (SOL001 6.10). The count at level L is the initial delta and the first L step deltas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from vnfm.model.policies import AffinityRule, InstantiationLevel, PlacementGroup, ScalingAspect
from vnfm.model.vdu import Vdu
from vnfm.tosca.kinds import COMPUTE, LINK, MCIOP, OS_CONTAINER, STORAGES, UNIT
from vnfm.tosca.notes import Place
from vnfm.tosca.operations import names
from vnfm.tosca.template import Entity, Template
from vnfm.tosca.types import GROUP
from vnfm.tosca.view import View

_BASE = "tosca.policies.nfv."
SCOPES = (
    *("nfvi_node", "zone", "zone_group", "nfvi_pop", "network_link_and_node", "container_namespace", "cis_node"),
    "rack",  # ours: ETSI has no word for it
)
_SCOPE_WORDS = {"node": "nfvi_node", "host": "nfvi_node", "nfvinode": "nfvi_node", "compute": "nfvi_node"}
MAX_LEVELS = 10_000
PLACED = (COMPUTE, UNIT, LINK, OS_CONTAINER, MCIOP, *STORAGES)  # what affinity may be about


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
            count = self.template.properties(policy).sub("initial_delta").whole("number_of_instances", -1, must=True)
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
        for name, view in self._aspect_views():
            level = view.whole("max_scale_level", must=True)
            if level > MAX_LEVELS:
                view.notes.error("value-range", f"{view.path}: at most {MAX_LEVELS} levels", view.at())
                level = 0
            aspects[name] = _Aspect(view, level, view.texts("step_deltas"))
        for policy in self.template.policies_of(_BASE + "VduScalingAspectDeltas"):
            if self.template.properties(policy).text("aspect") in aspects:
                self._add_deltas(policy, aspects)
        self._say_unknown(aspects)
        return tuple(
            ScalingAspect(name, a.max_level, a.view.text("name"), a.view.text("description"), a.deltas)
            for name, a in aspects.items()
        )

    def steps(self) -> dict[str, tuple[str, ...]]:
        """The names of each aspect's steps."""
        return {name: view.texts("step_deltas") for name, view in self._aspect_views()}

    def _aspect_views(self) -> Iterator[tuple[str, View]]:
        for policy in self.template.policies_of(_BASE + "ScalingAspects"):
            yield from self.template.properties(policy).named("aspects")
        yield from self._older().named("scaling_aspects")

    def _level_views(self) -> Iterator[tuple[View, str, list[tuple[str, View]]]]:
        """What states levels, the key by which it names the default one, and the levels."""
        for policy in self.template.policies_of(_BASE + "InstantiationLevels"):
            properties = self.template.properties(policy)
            yield properties, "default_level", properties.named("levels")
        older = self._older()
        yield older, "default_instantiation_level_id", older.named("instantiation_levels")

    def _older(self) -> View:
        """Where profiles before SOL001 had the flavour, as IFA011 has: a capability of what is substituted."""
        mappings = self.template.topology.sub("substitution_mappings")
        return self.template.capability(Entity("substitution_mappings", "", mappings), "deployment_flavour")

    def groups(self) -> tuple[PlacementGroup, ...]:
        """Every placement group."""
        found = []
        for group in self.template.groups.values():
            if self.template.types.is_a(GROUP, group.type, "tosca.groups.nfv.PlacementGroup"):
                members = self._members(group)
                for name in members:
                    if name not in self.template.nodes:
                        self.template.notes.warn(
                            "target-unknown",
                            f"{group.name} has the member {name}, which is no node",
                            group.body.place("members"),
                            "mend the name or leave it out",
                        )
                description = self.template.properties(group).text("description")
                found.append(PlacementGroup(group.name, members, description))
        return tuple(found)

    def levels(self, aspects: Sequence[ScalingAspect], vdus: Sequence[Vdu]) -> tuple[InstantiationLevel, ...]:
        """Every instantiation level with each VDU's count: as written, else from the levels of the aspects."""
        written, places = self._written_counts()
        by_name = {a.id: a for a in aspects}
        found: dict[str, InstantiationLevel] = {}
        default, default_key, default_view = "", "", None
        for properties, key, levels in self._level_views():
            if key in properties:
                default, default_view, default_key = properties.text(key), properties, key
            for name, view in levels:
                said = written.pop(name, {}) | {
                    vdu: entry.whole("number_of_instances", must=True)
                    for vdu, entry in view.named("vdu_levels")
                    if self.template.is_node(vdu, COMPUTE, UNIT)
                }
                scale = self._scale_levels(view, by_name, said)
                counts = {v.id: count_at(v, aspects, scale) for v in vdus} | said
                self._within(view, vdus, counts)
                found[name] = InstantiationLevel(name, counts, scale, description=view.text("description"))
        for name, counts in written.items():
            if found:
                self.template.notes.warn(
                    "level-unknown",
                    f"VduInstantiationLevels names the level {name}, which is not defined: it is not used",
                    places[name],
                    "define it in a policy of the type InstantiationLevels",
                )
            else:  # some write only the VDUs' side
                found[name] = InstantiationLevel(name, {v.id: v.initial_instances for v in vdus} | counts, {})
        if default_view is not None and default not in found:
            default_view.notes.warn(
                "level-unknown",
                f"default_level {default} is not defined",
                default_view.at(default_key),
                f"there is {', '.join(found) or 'none'}",
            )
            default = ""
        if not default and len(found) == 1:
            default = next(iter(found))
        if not default and found:
            self.template.notes.warn(
                "level-default",
                f"there are {len(found)} instantiation levels and no default_level",
                self.template.topology.place("policies"),
                "name one in default_level of InstantiationLevels",
            )
        return tuple(replace(level, default=level.id == default) for level in found.values())

    def affinity(self) -> tuple[AffinityRule, ...]:
        """Every affinity and anti-affinity rule, its groups written out."""
        found = []
        for anti, base in ((False, "AffinityRule"), (True, "AntiAffinityRule")):
            for policy in self.template.policies_of(_BASE + base):
                properties = self.template.properties(policy)
                written = properties.text("scope").lower().replace("-", "_")
                scope = _SCOPE_WORDS.get(written, written)
                if scope not in SCOPES:
                    properties.notes.warn(
                        "value-enum",
                        f"{properties.path}.scope: {scope!r} is none of {', '.join(SCOPES)}: read as nfvi_node",
                        properties.at("scope"),
                        "write the scope that is meant",
                    )
                    scope = "nfvi_node"
                targets = self._affinity_targets(policy)
                links = tuple(n for n in targets if self.template.is_node(n, LINK))
                by = tuple(n for n in names(policy.body.get("targets")) if n in self.template.groups)
                found.append(AffinityRule(policy.name, anti, scope, targets, by, links))
        return tuple(found)

    def _say_unknown(self, aspects: dict[str, _Aspect]) -> None:
        """Deltas of an aspect that is not defined: one too many, or else what a defined one lacks."""
        for kind in ("VduScalingAspectDeltas", "VirtualLinkBitrateScalingAspectDeltas"):
            views = [(p, self.template.properties(p)) for p in self.template.policies_of(_BASE + kind)]
            told = {view.text("aspect") for _, view in views}
            of_vdus = kind.startswith("Vdu")  # a link need not have rates in every aspect
            lacking = ", ".join(n for n, a in aspects.items() if of_vdus and a.max_level and n not in told)
            meant = f"nothing says what {lacking} adds: is that meant?" if lacking else ""
            for policy, view in views:
                name = view.text("aspect")
                if name in aspects:
                    continue
                note = view.notes.error if lacking else view.notes.warn
                note(
                    "aspect-unknown",
                    f"{policy.name}: the scaling aspect {name!r} is not defined, the policy is not used",
                    view.at("aspect"),
                    meant or "define it in a policy of the type ScalingAspects",
                )

    def _add_deltas(self, policy: Entity, aspects: dict[str, _Aspect]) -> None:
        properties = self.template.properties(policy)
        name = properties.text("aspect")
        aspect = aspects[name]
        counts = {key: view.whole("number_of_instances", must=True) for key, view in properties.named("deltas")}
        steps = aspect.steps or tuple(counts)
        unknown = sorted(set(counts) - set(steps))
        if unknown:
            properties.notes.warn(
                "delta-unused", f"{policy.name}: no step of {name} is {', '.join(unknown)}", properties.at("deltas")
            )
        if len(steps) == 1:  # a uniform aspect names its one delta once
            steps = steps * aspect.max_level
        elif len(steps) != aspect.max_level:
            properties.notes.warn(
                "step-deltas",
                f"{name} has {aspect.max_level} steps and {len(steps)} step_deltas: the last one stands for the rest",
                aspect.view.at("step_deltas"),
                "name one delta for all steps, or one for each",
            )
            steps = (steps + steps[-1:] * aspect.max_level)[: aspect.max_level]
        missing = sorted(set(steps) - set(counts))
        if missing:
            properties.notes.warn(
                "delta-missing",
                f"{policy.name}: nothing is said of {', '.join(missing)}, taken as 0",
                properties.at("deltas"),
            )
        for vdu in self._vdu_targets(policy):
            aspect.deltas[vdu] = tuple(counts.get(step, 0) for step in steps)

    def _written_counts(self) -> tuple[dict[str, dict[str, int]], dict[str, Place]]:
        """What is written of each level by VDU, and where the level stands."""
        found: dict[str, dict[str, int]] = {}
        places: dict[str, Place] = {}
        for policy in self.template.policies_of(_BASE + "VduInstantiationLevels"):
            targets = self._vdu_targets(policy)
            for level, view in self.template.properties(policy).named("levels"):
                count = view.whole("number_of_instances", must=True)
                found.setdefault(level, {}).update(dict.fromkeys(targets, count))
                places.setdefault(level, view.at())
        return found, places

    def _scale_levels(self, view: View, aspects: dict[str, ScalingAspect], said: dict[str, int]) -> dict[str, int]:
        """The level of each aspect. One that no delta covers is a mistake where not even `said` tells the instances."""
        levels = dict.fromkeys(aspects, 0)
        for name, info in view.named("scale_info"):
            level = info.whole("scale_level", must=True)
            if name not in aspects:
                info.notes.warn(
                    "aspect-unknown",
                    f"{view.path}: the scaling aspect {name} is not defined",
                    info.at(),
                    "define it in a policy of the type ScalingAspects",
                )
                continue
            aspect = aspects[name]
            covered = max((len(d) for d in aspect.step_deltas.values()), default=aspect.max_level)
            levels[name] = min(level, aspect.max_level)
            if level > covered:
                note = info.notes.warn if set(aspect.step_deltas) <= set(said) else info.notes.error
                note(
                    "scale-level",
                    f"{view.path}: {name} has {covered} levels that say what they add, not {level}",
                    info.at("scale_level"),
                    "raise max_scale_level and name a delta for each step, or lower the level",
                )
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
            members = self._members(group) if group is not None else (target,)
            found += [n for n in members if self._is(policy, n, "VDU or virtual link", *PLACED)]
        if len(found) == 1 and not self._several(found[0]):
            self.template.notes.warn(
                "affinity-single",
                f"{policy.name} is about {found[0]} alone, of which there is one instance",
                policy.body.place("targets"),
            )
        if not found:
            self.template.notes.warn("affinity-empty", f"{policy.name} is about nobody", policy.body.place())
        return tuple(dict.fromkeys(found))

    def _several(self, name: str) -> bool:
        return next((v.max_instances > 1 for v in self.vdus if v.id == name), True)

    def _targets(self, policy: Entity) -> tuple[str, ...]:
        return names(policy.body.get("targets"))

    def _is(self, policy: Entity, name: str, what: str, *bases: str) -> bool:
        if self.template.is_node(name, *bases):
            return True
        self.template.notes.warn(
            "target-unknown",
            f"{policy.name} is about {name}, which is no {what}",
            policy.body.place("targets"),
            "mend the name or leave it out",
        )
        return False

    def _members(self, group: Entity) -> tuple[str, ...]:
        """A group's members, which some write among its properties."""
        if "members" in group.body:
            return names(group.body.get("members"))
        inside = group.body.sub("properties")
        if "members" in inside:
            self.template.notes.warn(
                "group-form",
                f"{group.name}: members stand beside the properties, not among them",
                inside.place("members"),
                "move members out of properties",
            )
        return names(inside.get("members"))


def count_at(vdu: Vdu, aspects: Sequence[ScalingAspect], scale: dict[str, int]) -> int:
    """A VDU's number of instances at the given level of each aspect."""
    return vdu.initial_instances + sum(sum(a.step_deltas.get(vdu.id, ())[: scale.get(a.id, 0)]) for a in aspects)

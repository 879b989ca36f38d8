"""From documents to a Vnfd: who the VNF is, which templates are flavours, and each flavour on its own (SOL001 6.11)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from vnfm.model.vnfd import Flavour, Vnfd
from vnfm.tosca.documents import Documents
from vnfm.tosca.images import ImageReader
from vnfm.tosca.linkrates import with_rates
from vnfm.tosca.network import read_cps, read_external, read_links
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.operations import DetailReader
from vnfm.tosca.policies import PolicyReader
from vnfm.tosca.rules import check, check_flavours
from vnfm.tosca.template import Entity, Template
from vnfm.tosca.types import NODE, TypeTable
from vnfm.tosca.vdus import COMPUTE, STORAGES, UNIT, ReadText, VduReader
from vnfm.tosca.yamldoc import Map, Seq, plain

VNF = "tosca.nodes.nfv.VNF"
NS = "tosca.nodes.nfv.NS"
DESCRIBED = (COMPUTE, UNIT, "tosca.nodes.nfv.Cp", "tosca.nodes.nfv.VnfVirtualLink", "tosca.nodes.nfv.Mciop", *STORAGES)
IDENTITY = ("descriptor_id", "provider", "product_name", "descriptor_version", "software_version")


@dataclass(frozen=True)
class FlavourTemplate:
    """A flavour and the template that states it."""

    id: str
    template: Template


@dataclass(frozen=True)
class Normaliser:
    """Reads the model out of the documents of one package."""

    documents: Documents
    types: TypeTable
    images: ImageReader
    read_text: ReadText
    notes: Notes

    def templates(self) -> list[Template]:
        """The entry's template first, then each imported one; those that no one can substitute go into the entry's."""
        found: list[Template] = []
        given: dict[str, Any] = {}
        for document in self.documents.order:
            topology = document.body.sub("topology_template")
            if document.ours or (found and not topology):
                continue
            template = Template(document.file, topology, self.types, self.notes, given)
            found.append(template)
            if len(found) == 1:
                given = self._given(template)
        loose = [t for t in found[1:] if not t.topology.sub("substitution_mappings")]
        for template in loose:
            if template.nodes:
                self.notes.warn(
                    "topology-imported",
                    "node templates of an imported file were taken as part of the entry's",
                    template.topology.place(),
                    "TOSCA imports types; put node templates into one file, or give this one substitution_mappings",
                )
                found[0].absorb(template)
        return [t for t in found if t not in loose]

    def flavours(self, templates: list[Template]) -> list[FlavourTemplate]:
        """Each template that states a flavour: the substitutable ones, and the entry's where it has more than a VNF."""
        entry = templates[0]
        chosen = [t for t in templates if t is not entry or self._states_flavour(t)]
        if not chosen:
            chosen = [entry]
        found: dict[str, FlavourTemplate] = {}
        for template in chosen:
            flavour = self._flavour_id(template)
            if flavour in found:
                at = template.topology.place("substitution_mappings")
                self.notes.error("flavour-duplicate", f"two templates state the flavour {flavour}", at)
                continue
            found[flavour] = FlavourTemplate(flavour, template)
        self._all_stated(entry, found)
        return list(found.values())

    def _all_stated(self, entry: Template, found: dict[str, FlavourTemplate]) -> None:
        """Whether what the VNF's type allows and what the top template selects is stated."""
        for vnf in self._vnfs(entry):
            allowed = self.types.allowed(NODE, vnf.type, "flavour_id")
            raw = vnf.body.sub("properties")
            selected = entry.resolve(raw.get("flavour_id"), vnf) if "flavour_id" in raw else None
            at = raw.place("flavour_id") if "flavour_id" in raw else vnf.body.place()
            check_flavours(list(found), allowed, str(selected) if isinstance(selected, str) else "", at, entry)

    def vnfd(self, templates: list[Template], flavours: list[FlavourTemplate]) -> Vnfd | None:
        """The whole VNFD; None where it says of no VNF who it is."""
        if any(True for _ in templates[0].nodes_of(NS)):
            self.notes.error("not-a-vnfd", "this describes a network service, not a VNF", Place(templates[0].file))
            return None
        identity = self._identity(templates)
        if identity is None:
            return None
        info = self._first(templates, "vnfm_info")
        return Vnfd(
            id=identity["descriptor_id"],
            provider=identity["provider"],
            product=identity["product_name"],
            version=identity["descriptor_version"],
            software_version=identity["software_version"],
            flavours=tuple(self._flavour(f) for f in flavours),
            product_info=self._text(templates, "product_info_name"),
            vnfm_info=tuple(str(i) for i in info) if isinstance(info, Seq) else (str(info),) if info else (),
        )

    def _flavour(self, flavour: FlavourTemplate) -> Flavour:
        template = flavour.template
        reader = VduReader(template, self.images, self.read_text)
        links = read_links(template)
        cps = read_cps(template, links)
        storages = reader.storages()
        policies = PolicyReader(template, reader.vdus(storages, cps))
        vdus = policies.with_initial()
        aspects = policies.aspects()
        details = DetailReader(template, self.images, tuple(self._vnfs(template)))
        if not vdus:
            self.notes.warn("flavour-empty", f"the flavour {flavour.id} has no VDU", template.topology.place())
        description = next((self._property(template, v, "flavour_description") for v in self._vnfs(template)), "")
        found = Flavour(
            id=flavour.id,
            description=description,
            vdus=vdus,
            cps=cps,
            virtual_links=with_rates(template, links, aspects, policies.steps()),
            storages=storages,
            external_cps=read_external(template, cps),
            scaling_aspects=aspects,
            instantiation_levels=policies.levels(aspects, vdus),
            affinity=policies.affinity(),
            placement_groups=policies.groups(),
            security_rules=details.security_rules(),
            indicators=details.indicators(),
            package_changes=details.package_changes(),
            operations=details.operations(),
            mciops=details.mciops(),
            artifacts=details.artifacts(),
            configurable=details.texts("configurable_properties"),
            modifiable=details.texts("modifiable_attributes"),
            monitoring=details.monitoring(),
            instances=details.instances(),
        )
        check(found, template)
        return found

    def _given(self, entry: Template) -> dict[str, Any]:
        """What the top template's VNF passes to the one that substitutes it."""
        found: dict[str, Any] = {}
        for vnf in self._vnfs(entry):
            properties = vnf.body.sub("properties")
            found |= {str(k): entry.resolve(v, vnf) for k, v in properties.items()}
        return {k: v for k, v in found.items() if v is not None}

    def _states_flavour(self, template: Template) -> bool:
        if template.topology.sub("substitution_mappings"):
            return True
        return any(
            not self.types.is_a(NODE, n.type, VNF) and not template.seems_vnf(n.type, n.body)
            for n in template.nodes.values()
        )

    def _vnfs(self, template: Template) -> list[Entity]:
        """VNF nodes; where there is none, the one that substitution_mappings describe."""
        found = [*template.nodes_of(VNF), *(n for n in template.nodes.values() if template.seems_vnf(n.type, n.body))]
        mappings = template.topology.sub("substitution_mappings")
        node_type = mappings.get("node_type")
        if isinstance(node_type, str) and self.types.is_a(NODE, node_type, VNF):
            found.append(Entity("substitution_mappings", node_type, mappings))
        return found

    def _flavour_id(self, template: Template) -> str:
        mappings = template.topology.sub("substitution_mappings")
        value = template.resolve(mappings.sub("properties").get("flavour_id"), None)
        if value is None:
            value = _filtered(mappings)
        if value is None:
            value = self._property(template, None, "flavour_id") or None
        return str(value) if isinstance(value, str | int | float) else "default"

    def _property(self, template: Template, vnf: Entity | None, name: str) -> str:
        for entity in [vnf] if vnf is not None else self._vnfs(template):
            text = template.property(entity, name)[1]
            if text:
                return text
        return ""

    def _identity(self, templates: list[Template]) -> dict[str, str] | None:
        """Who the VNF is. What the author left out is made up, with a warning: the rest of the model is right."""
        vnf = next((v for t in templates for v in self._vnfs(t)), None)
        if vnf is None and not any(self._describes(t) for t in templates):
            self.notes.error(
                "vnf-missing",
                "no node template is a VNF, a VDU or a connection point",
                Place(templates[0].file),
                f"add a node template whose type derives from {VNF}",
            )
            return None
        if vnf is None:
            self.notes.warn(
                "vnf-missing",
                "no node template is a VNF: it has neither name nor id of its own",
                templates[0].topology.place(),
                f"add a node template whose type derives from {VNF}",
            )
        identity = {name: self._text(templates, name) for name in IDENTITY}
        for name, value in identity.items():
            if not value and vnf is not None:
                self.notes.warn(
                    "property-missing",
                    f"the VNF has no {name}",
                    vnf.body.place("properties"),
                    "SOL001 6.8.1 asks for it",
                )
        ids = {t.property(v, "descriptor_id")[1] for t in templates for v in self._vnfs(t)} - {""}
        if len(ids) > 1:
            self.notes.warn(
                "descriptor-id",
                f"several descriptor_id: {', '.join(sorted(ids))}; {identity['descriptor_id']} counts",
                Place(templates[0].file),
                "a package has one",
            )
        return {**identity, "descriptor_id": identity["descriptor_id"] or _id_of(templates)}

    def _describes(self, template: Template) -> bool:
        return any(self.types.is_a(NODE, n.type, base) for n in template.nodes.values() for base in DESCRIBED)

    def _text(self, templates: list[Template], name: str) -> str:
        return next((text for t in templates if (text := self._property(t, None, name))), "")

    def _first(self, templates: list[Template], name: str) -> Any:
        values = (t.property(v, name)[0] for t in templates for v in self._vnfs(t))
        return next((v for v in values if v), None)


def _id_of(templates: list[Template]) -> str:
    """An id for a descriptor that has none: the same for the same templates."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, repr([(t.file, plain(t.topology)) for t in templates])))


def _filtered(mappings: Map) -> Any:
    """flavour_id out of TOSCA 1.3's substitution_filter: `properties: [ {flavour_id: {equal: x}} ]`."""
    raw = mappings.sub("substitution_filter").get("properties")
    for item in raw if isinstance(raw, Seq) else []:
        constraint = item.get("flavour_id") if isinstance(item, Map) else None
        rules = constraint if isinstance(constraint, Seq) else [constraint]
        for rule in rules:
            if isinstance(rule, Map) and "equal" in rule:
                return rule["equal"]
    return None

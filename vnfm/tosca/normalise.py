"""From documents to a Vnfd: who the VNF is, which templates are flavours, and each flavour on its own (SOL001 6.11)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from vnfm.model.vnfd import Flavour, Vnfd
from vnfm.tosca.documents import Documents
from vnfm.tosca.external import read_external
from vnfm.tosca.flavours import FlavourTemplate, describes, read_flavours, read_templates, vnfs_of
from vnfm.tosca.images import ImageReader
from vnfm.tosca.kinds import NS_NODES, PNF_NODES, VDUS, VNF
from vnfm.tosca.linkrates import with_rates
from vnfm.tosca.network import read_cps, read_links
from vnfm.tosca.notes import Notes, Place
from vnfm.tosca.operations import DetailReader
from vnfm.tosca.policies import PolicyReader
from vnfm.tosca.rules import check, check_flavours
from vnfm.tosca.template import Entity, Template
from vnfm.tosca.types import NODE, TypeTable
from vnfm.tosca.vdus import ReadText, VduReader
from vnfm.tosca.yamldoc import Seq, plain

IDENTITY = ("descriptor_id", "provider", "product_name", "descriptor_version", "software_version")

OTHER_NAMES = {  # as China Mobile's types, Tacker's and earlier profiles have them
    "descriptor_id": ("vnfd_id", "vnfdId", "id"),
    "descriptor_version": ("vnfd_version", "vnfdVersion", "version"),
    "provider": ("vendor", "vnf_provider", "vnf_provider_id"),
    "product_name": ("vnf_product_name", "name"),
    "software_version": ("vnf_software_version", "vnfSoftwareVersion"),
}


@dataclass(frozen=True)
class Normaliser:
    """Reads the model out of the documents of one package."""

    documents: Documents
    types: TypeTable
    images: ImageReader
    read_text: ReadText
    notes: Notes

    def templates(self) -> list[Template]:
        """The entry's template first, then each imported one that states a flavour."""
        return read_templates(self.documents, self.types, self.notes)

    def flavours(self, templates: list[Template]) -> list[FlavourTemplate]:
        """Each template that states a flavour, and whether those that are meant to be stated are."""
        found = read_flavours(templates, self.notes)
        self._all_stated(templates[0], found)
        return found

    def _all_stated(self, entry: Template, found: list[FlavourTemplate]) -> None:
        """Whether what the VNF's type allows and what the top template selects is stated."""
        for vnf in vnfs_of(entry):
            allowed = self.types.allowed(NODE, vnf.type, "flavour_id")
            raw = vnf.body.sub("properties")
            selected = entry.resolve(raw.get("flavour_id"), vnf) if "flavour_id" in raw else None
            at = raw.place("flavour_id") if "flavour_id" in raw else vnf.body.place()
            stated = [f.id for f in found]
            check_flavours(stated, allowed, selected if isinstance(selected, str) else "", at, entry)

    def vnfd(self, templates: list[Template], flavours: list[FlavourTemplate]) -> Vnfd | None:
        """The whole VNFD; None where it says of no VNF who it is."""
        other = _other_than_vnf(templates[0])
        if other:
            at = templates[0].topology.place()
            self.notes.error("not-a-vnfd", f"this describes a {other}, not a VNF", at, "give a VNF's package")
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
        details = DetailReader(template, self.images, tuple(vnfs_of(template)))
        if not describes(template):
            for node in template.left_out:  # they are what there is
                at = node.body.place("type")
                self.notes.error("type-unknown", f"{node.name}: nothing is known of the type {node.type}", at)
        if not vdus:
            self.notes.warn("flavour-empty", f"the flavour {flavour.id} has no VDU", template.topology.place())
        description = next((self._property(template, v, "flavour_description") for v in vnfs_of(template)), "")
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

    def _property(self, template: Template, vnf: Entity | None, name: str) -> str:
        for entity in [vnf] if vnf is not None else vnfs_of(template):
            text = template.property(entity, name)[1]
            if text:
                return text
        return ""

    def _identity(self, templates: list[Template]) -> dict[str, str] | None:
        """Who the VNF is. What the author left out is made up, with a warning: the rest of the model is right."""
        vnf = next((v for t in templates for v in vnfs_of(t)), None)
        if vnf is None and not any(describes(t) for t in templates):
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
        identity = {name: self._identifier(templates, name) for name in IDENTITY}
        for name, value in identity.items():
            if not value and vnf is not None:
                self.notes.warn(
                    "property-missing",
                    f"the VNF has no {name}",
                    vnf.body.place("properties"),
                    "SOL001 6.8.1 asks for it",
                )
        ids = {t.property(v, "descriptor_id")[1] for t in templates for v in vnfs_of(t)} - {""}
        if len(ids) > 1:
            self.notes.warn(
                "descriptor-id",
                f"several descriptor_id: {', '.join(sorted(ids))}; {identity['descriptor_id']} counts",
                Place(templates[0].file),
                "a package has one",
            )
        return {**identity, "descriptor_id": identity["descriptor_id"] or _id_of(templates)}

    def _identifier(self, templates: list[Template], name: str) -> str:
        """What the VNF says of who it is, also by the names that other profiles have for it, or in the metadata."""
        text = self._text(templates, name)
        others = [n for n in OTHER_NAMES.get(name, ()) if not text]
        metadata = self.documents.order[0].body.sub("metadata")
        text = text or next((t for n in others if (t := self._text(templates, n))), "")
        return text or next((t for n in (name, *others) if (t := metadata.text(n)) and not text), "")

    def _text(self, templates: list[Template], name: str) -> str:
        return next((text for t in templates if (text := self._property(t, None, name))), "")

    def _first(self, templates: list[Template], name: str) -> Any:
        values = (t.property(v, name)[0] for t in templates for v in vnfs_of(t))
        return next((v for v in values if v), None)


def _other_than_vnf(entry: Template) -> str:
    """What a template describes instead of a VNF: by what it substitutes, or by nodes that only that has."""
    substituted = entry.topology.sub("substitution_mappings").get("node_type")
    for what, kinds in (("network service", NS_NODES), ("physical network function", PNF_NODES)):
        if isinstance(substituted, str) and entry.types.is_a(NODE, substituted, kinds[0]):
            return what
        if any(True for _ in entry.nodes_of(kinds[0])):
            return what
        if any(True for _ in entry.nodes_of(*kinds)) and not any(True for _ in entry.nodes_of(*VDUS)):
            return what
    return ""


def _id_of(templates: list[Template]) -> str:
    """An id for a descriptor that has none: the same for the same templates."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, repr([(t.file, plain(t.topology)) for t in templates])))

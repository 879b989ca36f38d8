"""What a VNF says of itself besides its topology: lifecycle interfaces, artifacts, security rules, indicators and
package changes (SOL001 6.7, 6.8.14, 6.10.9 to 6.10.14)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vnfm.model.policies import SecurityGroupRule, VnfIndicator, VnfPackageChange
from vnfm.model.vdu import MonitoringParameter
from vnfm.model.vnfd import Artifact, LcmOperation, Mciop
from vnfm.tosca.containers import monitoring
from vnfm.tosca.digests import is_url
from vnfm.tosca.images import ImageReader
from vnfm.tosca.kinds import COMPUTE, CP, MCIOP, UNIT
from vnfm.tosca.notes import Place
from vnfm.tosca.template import Entity, Template
from vnfm.tosca.types import ARTIFACT
from vnfm.tosca.yamldoc import Map, Seq

_BASE = "tosca.policies.nfv."
_KEYNAMES = ("type", "inputs", "operations", "notifications", "description")


@dataclass(frozen=True)
class DetailReader:
    """Reads the details of a template whose VNF nodes are `vnfs`."""

    template: Template
    images: ImageReader
    vnfs: tuple[Entity, ...]

    def operations(self) -> tuple[LcmOperation, ...]:
        """Every operation of every interface of the VNF; of two statements of one operation the first counts."""
        found: dict[tuple[str, str], LcmOperation] = {}
        for vnf in self.vnfs:
            interfaces = vnf.body.sub("interfaces")
            for name in interfaces:
                for operation in self._interface(vnf, str(name), interfaces.sub(name)):
                    found.setdefault((operation.interface, operation.operation), operation)
        return tuple(found.values())

    def artifacts(self) -> tuple[Artifact, ...]:
        """Files that the VNF and its VDUs name, software images left out."""
        nodes = [*self.vnfs, *self.template.nodes_of(COMPUTE, UNIT)]
        return tuple(a for node in nodes for a in self._artifacts(node))

    def mciops(self) -> tuple[Mciop, ...]:
        """Every Mciop with its charts and the VDUs that they deploy."""
        found = []
        for node in self.template.nodes_of(MCIOP):
            vdus = []
            for name, at in self.template.requirements(node, "associatedVdu"):
                if self.template.is_node(name, COMPUTE, UNIT):
                    vdus.append(name)
                else:
                    self.template.notes.warn(
                        "target-unknown", f"{node.name}: associatedVdu names {name}, which is no VDU", at
                    )
            artifacts = tuple(self._artifacts(node))
            if not vdus:
                self.template.notes.warn(
                    "mciop-empty",
                    f"{node.name} is associated with no VDU",
                    node.body.place(),
                    "add a requirement associatedVdu for each VDU that it deploys",
                )
            if not artifacts:
                self.template.notes.warn(
                    "mciop-empty",
                    f"{node.name} has no artifact",
                    node.body.place(),
                    "add its Helm chart as an artifact",
                )
            found.append(Mciop(node.name, tuple(dict.fromkeys(vdus)), artifacts))
        return tuple(found)

    def security_rules(self) -> tuple[SecurityGroupRule, ...]:
        """Every security group rule."""
        found = []
        for policy in self.template.policies_of(_BASE + "SecurityGroupRule"):
            view = self.template.properties(policy)
            low, high = view.whole("port_range_min"), view.whole("port_range_max", 65535)
            if not low <= high <= 65535:
                view.notes.warn(
                    "port-range", f"{policy.name}: {low} to {high} is no range of ports", view.at("port_range_min")
                )
            found.append(
                SecurityGroupRule(
                    id=policy.name,
                    targets=self._cp_targets(policy),
                    direction=view.text("direction", "ingress"),
                    ether_type=view.text("ether_type", "ipv4"),
                    protocol=view.text("protocol", "tcp"),
                    port_min=low,
                    port_max=high,
                    description=view.text("description"),
                )
            )
        return tuple(found)

    def indicators(self) -> tuple[VnfIndicator, ...]:
        """Every indicator."""
        return tuple(
            VnfIndicator(policy.name, view.text("source"), view.text("name"), names(policy.body.get("targets")))
            for policy in self.template.policies_of(_BASE + "VnfIndicator")
            for view in [self.template.properties(policy)]
        )

    def package_changes(self) -> tuple[VnfPackageChange, ...]:
        """Every way from another package to this one."""
        found = []
        for policy in self.template.policies_of(_BASE + "VnfPackageChange"):
            view = self.template.properties(policy)
            found.append(
                VnfPackageChange(
                    id=policy.name,
                    selector=tuple({k: e.text(k) for k in e.body} for _, e in view.children("selector")),
                    modification_qualifier=view.text("modification_qualifier"),
                    destination_flavour=view.text("destination_flavour_id"),
                    mappings=tuple({k: e.text(k) for k in e.body} for _, e in view.children("component_mappings")),
                    description=view.text("additional_modification_description"),
                )
            )
        return tuple(found)

    def texts(self, key: str) -> dict[str, str]:
        """A map of the VNF's properties with what its scalars say, nested keys joined by dots."""
        for vnf in self.vnfs:
            value = self.template.properties(vnf).body.get(key)
            if isinstance(value, Map):
                return dict(_flat(value, ""))
        return {}

    def monitoring(self) -> tuple[MonitoringParameter, ...]:
        """What is to be measured of the VNF."""
        return next((m for vnf in self.vnfs if (m := monitoring(self.template.properties(vnf)))), ())

    def instances(self) -> tuple[int, int]:
        """vnf_profile's least and most instances."""
        for vnf in self.vnfs:
            profile = self.template.properties(vnf).sub("vnf_profile")
            if profile.body:
                return profile.whole("min_number_of_instances"), profile.whole("max_number_of_instances")
        return 0, 0

    def _interface(self, vnf: Entity, name: str, body: Map) -> Iterator[LcmOperation]:
        inner = body.sub("operations") if isinstance(body.get("operations"), Map) else body
        for key, value in inner.items():
            if inner is body and key in _KEYNAMES:
                continue
            implementation = value.get("implementation") if isinstance(value, Map) else value
            dependencies: tuple[str, ...] = ()
            if isinstance(implementation, Map):
                dependencies = names(implementation.get("dependencies"))
                implementation = implementation.get("primary")
            if isinstance(implementation, Map):
                implementation = implementation.get("file")
            primary = implementation if isinstance(implementation, str) else ""
            inputs = (
                self.template.view(vnf, value.sub("inputs"), f"{vnf.name}.{name}.{key}") if _is_map(value) else None
            )
            texts = dict(_flat(inputs.body, "")) if inputs is not None else {}
            yield LcmOperation(name, str(key), primary, dependencies, texts)

    def _artifacts(self, node: Entity) -> Iterator[Artifact]:
        artifacts = node.body.sub("artifacts")
        for name in artifacts:
            body = artifacts.get(name)
            kind = str(body.get("type") or "") if isinstance(body, Map) else ""
            file = self.template.resolve(body.get("file"), node) if isinstance(body, Map) else body
            if not isinstance(file, str) or not file or self._is_image(str(name), kind):
                continue
            at = body.place("file") if isinstance(body, Map) else artifacts.place(name)
            yield self._artifact(node, str(name), kind, file, at)

    def _artifact(self, node: Entity, name: str, kind: str, file: str, at: Place) -> Artifact:
        path = "" if is_url(file) else self.images.locate(file, at)
        held = self.images.files.get(path)
        if held is None and not is_url(file):
            self.template.notes.warn("artifact-absent", f"{node.name}: {file} is not in the package", at)
        return Artifact(name, kind, file, path, held.sha256 if held is not None else "")

    def _is_image(self, name: str, kind: str) -> bool:
        if not kind:
            return name == "sw_image"
        return self.template.types.is_a(ARTIFACT, kind, "tosca.artifacts.nfv.SwImage") or kind.startswith(
            "tosca.artifacts.Deployment.Image"
        )

    def _cp_targets(self, policy: Entity) -> tuple[str, ...]:
        found = []
        for name in names(policy.body.get("targets")):
            if self.template.is_node(name, CP):
                found.append(name)
            else:
                self.template.notes.warn(
                    "target-unknown",
                    f"{policy.name} is about {name}, which is no connection point",
                    policy.body.place("targets"),
                )
        return tuple(found)


def names(raw: object) -> tuple[str, ...]:
    """Names in a list; one name alone and the keys of a map count too."""
    if isinstance(raw, Seq):
        return tuple(str(n) for n in raw if isinstance(n, str | int) and not isinstance(n, bool) and n != "")
    return (raw,) if isinstance(raw, str) else tuple(str(k) for k in raw) if isinstance(raw, Map) else ()


def _is_map(value: Any) -> bool:
    return isinstance(value, Map)


def _flat(value: Map, prefix: str) -> Iterator[tuple[str, str]]:
    for key, item in value.items():
        if isinstance(item, Map):
            yield from _flat(item, f"{prefix}{key}.")
        elif isinstance(item, Seq):
            yield f"{prefix}{key}", ", ".join(str(i) for i in item if not isinstance(i, Map | Seq))
        elif item is not None:
            yield f"{prefix}{key}", value.text(key) or str(item)

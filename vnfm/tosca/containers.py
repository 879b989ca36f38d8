"""What a container says besides its size: probes and mounts (vendors' properties in Kubernetes' words), and what is
measured of it (SOL001 6.2.29 VnfcMonitoringParameter)."""

from __future__ import annotations

from collections.abc import Iterator

from vnfm.model.vdu import MonitoringParameter, Mount, Probe
from vnfm.tosca.view import View

PROBES = ("liveness", "readiness", "startup")


def probes(container: View) -> tuple[Probe, ...]:
    """`liveness_probe` (or livenessProbe) and its like: exec, httpGet or tcpSocket."""
    found = []
    for kind in PROBES:
        for key in (f"{kind}_probe", f"{kind}Probe"):
            if key in container:
                found.append(_probe(kind, container.sub(key)))
    return tuple(found)


def mounts(container: View) -> tuple[Mount, ...]:
    """`volume_mounts` (or volumeMounts): a list or map of {storage|name, path|mountPath, read_only|readOnly}."""
    found = []
    for key in ("volume_mounts", "volumeMounts"):
        for name, entry in container.children(key):
            storage = entry.text("storage") or entry.text("name") or name
            path = entry.text("path") or entry.text("mount_path") or entry.text("mountPath")
            if not path.startswith("/"):
                entry.notes.warn("mount-path", f"{entry.path}: {path!r} is no absolute path", entry.at())
                continue
            found.append(Mount(storage, path, entry.flag("read_only") or entry.flag("readOnly")))
    return tuple(found)


def monitoring(holder: View) -> tuple[MonitoringParameter, ...]:
    """`monitoring_parameters` of a VNF, a VDU, a container or a virtual link; some write a list of names."""
    named = list(holder.children("monitoring_parameters"))
    if not named:
        return ()
    return tuple(
        MonitoringParameter(
            id=key,
            name=view.text("name") or key,
            metric=view.text("performance_metric"),
            collection_period_us=view.time_us("collection_period") or 0,
        )
        for key, view in named
    )


def _probe(kind: str, view: View) -> Probe:
    http, tcp = _first(view, "http_get", "httpGet"), _first(view, "tcp_socket", "tcpSocket")
    command = view.sub("exec").texts("command") if "exec" in view else view.texts("command")
    path = http.text("path", "/") if http.body else ""
    port = _port(http) or _port(tcp)
    if not (command or path or port):
        view.notes.warn("probe-empty", f"{view.path}: expected exec, http_get or tcp_socket", view.at())
    numbers = {key: _number(view, *names) for key, names in _NUMBERS.items()}
    return Probe(kind, command, path, port, **numbers)


_NUMBERS = {
    "period_seconds": ("period_seconds", "periodSeconds"),
    "initial_delay_seconds": ("initial_delay_seconds", "initialDelaySeconds"),
    "timeout_seconds": ("timeout_seconds", "timeoutSeconds"),
    "failure_threshold": ("failure_threshold", "failureThreshold"),
}


def _port(view: View) -> int:
    """A port by number; a named one is the chart's business."""
    text = view.text("port")
    return int(text) if text.isdecimal() and len(text) < 6 else 0


def _number(view: View, *names: str) -> int:
    return next(_given(view, names), 0)


def _given(view: View, names: tuple[str, ...]) -> Iterator[int]:
    return (view.whole(name) for name in names if name in view)


def _first(view: View, *names: str) -> View:
    return view.sub(next((n for n in names if n in view), names[0]))

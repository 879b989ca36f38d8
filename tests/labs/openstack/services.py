"""What runs in a lab: every service with its command, in the order of starting."""

from __future__ import annotations

from collections.abc import Mapping

from .lab import EMULATED, HOST, PORTS, Lab
from .processes import Service

ERLANG = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"


def keepers(lab: Lab) -> tuple[Service, ...]:
    """The database and the message broker."""
    environment = _rabbitmq(lab)
    return (
        Service("mariadb", ["mariadbd", f"--defaults-file={lab.etc('mariadb.cnf')}"], port="mariadb"),
        Service("epmd", ["epmd", "-port", str(PORTS["epmd"]), "-address", HOST], environment, port="epmd"),
        Service("rabbitmq", ["/usr/lib/rabbitmq/bin/rabbitmq-server"], environment, port="rabbitmq"),
    )


def _rabbitmq(lab: Lab) -> Mapping[str, str]:
    folder = lab.data("rabbitmq")
    return {
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": HOST,
        "ERL_EPMD_PORT": str(PORTS["epmd"]),
        "RABBITMQ_NODENAME": "lab@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(PORTS["rabbitmq"]),
        "RABBITMQ_DIST_PORT": str(PORTS["rabbitmq_nodes"]),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(lab.etc("rabbitmq.conf")),
        "RABBITMQ_CONF_ENV_FILE": str(lab.etc("rabbitmq-none")),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(lab.etc("rabbitmq-plugins")),
        "RABBITMQ_PID_FILE": str(lab.run("rabbitmq.pid")),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG,
    }


def keystone(lab: Lab) -> Service:
    """Keystone: all others ask it."""
    environment = {"OS_KEYSTONE_CONFIG_FILES": str(lab.etc("keystone", "keystone.conf"))}
    return _wsgi(lab, "keystone", "/usr/bin/keystone-wsgi-public", environment)


def _wsgi(lab: Lab, name: str, script: str, environment: Mapping[str, str]) -> Service:
    words = ["uwsgi_python3", "--ini", str(lab.etc("uwsgi.ini")), "--http-socket", f"{HOST}:{PORTS[name]}"]
    return Service(name, [*words, "--wsgi-file", script], environment, port=name)


def control(lab: Lab) -> tuple[Service, ...]:
    """The control plane."""
    nova = ["--config-file", str(lab.etc("nova", "nova.conf"))]
    heat = ["--config-file", str(lab.etc("heat", "heat.conf"))]
    glance = ["--config-file", str(lab.etc("glance", "glance-api.conf"))]
    return (
        _wsgi(lab, "placement", "/usr/bin/placement-api", {"OS_PLACEMENT_CONFIG_DIR": str(lab.etc("placement"))}),
        Service("neutron", ["neutron-server", *_neutron(lab, "ml2.ini")], port="neutron"),
        Service("nova-conductor", ["nova-conductor", *nova]),
        Service("nova", ["nova-api", *nova], port="nova"),
        Service("glance", ["glance-api", *glance], port="glance"),
        Service("nova-scheduler", ["nova-scheduler", *nova]),
        Service("heat-engine", ["heat-engine", *heat]),
        Service("heat", ["heat-api", *heat], port="heat"),
    )


def _neutron(lab: Lab, *files: str) -> list[str]:
    return [word for name in ("neutron.conf", *files) for word in ("--config-file", str(lab.etc("neutron", name)))]


def libvirt(lab: Lab) -> Service:
    """libvirtd in a mount namespace where its folders in /etc, /run and /var are the lab's, not the host's."""
    places = {"etc": "/etc/libvirt", "lib": "/var/lib/libvirt", "run": "/run/libvirt"}
    places |= {"cache": "/var/cache/libvirt", "log": "/var/log/libvirt"}
    folders = {"etc": lab.etc("libvirt"), **{name: lab.folder / "libvirt" / name for name in places if name != "etc"}}
    script = 'while [ $# -gt 0 ]; do mkdir -p "$2"; mount --bind "$1" "$2" || exit; shift 2; done; exec libvirtd'
    pairs = [str(word) for name, place in places.items() for word in (folders[name], place)]
    # a slave: what is unmounted outside, others' network namespaces above all, is let go here, too
    return Service("libvirtd", ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script, "libvirtd", *pairs])


def computes(lab: Lab) -> tuple[Service, ...]:
    """The compute services: a real one on the emulated host and one for each simulated host."""

    def words(name: str) -> list[str]:
        files = (lab.etc("nova", "nova.conf"), lab.etc("nova", f"{name}.conf"))
        return [word for file in files for word in ("--config-file", str(file))]

    simulated = ["/usr/bin/python3", str(lab.folder / "python/lab_compute.py")]
    return (
        *(Service(f"nova-compute-{name}", [*simulated, *words(name)]) for name in lab.simulated_hosts),
        Service(f"nova-compute-{EMULATED}", ["nova-compute", *words(EMULATED)]),
    )


def agents(lab: Lab) -> tuple[Service, ...]:
    """Neutron's agents on the emulated host; their first report needs a listening neutron-server."""
    return (
        Service("neutron-linuxbridge", ["neutron-linuxbridge-agent", *_neutron(lab, "ml2.ini", "linuxbridge.ini")]),
        Service("neutron-dhcp", ["neutron-dhcp-agent", *_neutron(lab, "dhcp.ini")]),
        Service("neutron-metadata", ["neutron-metadata-agent", *_neutron(lab, "metadata.ini")]),
    )


def everything(lab: Lab) -> tuple[Service, ...]:
    """All services in the order of starting."""
    return (*keepers(lab), keystone(lab), *control(lab), libvirt(lab), *computes(lab), *agents(lab))

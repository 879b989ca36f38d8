"""What a manager tells of a chain that lives: counters, traces."""

from __future__ import annotations

import struct as binary
from typing import Any


def port(cp: str, packets: int, pps: float | None = None, dropped: int = 0) -> dict[str, Any]:
    return {
        "cp": cp,
        "in_packets": packets,
        "in_bytes": packets * 100,
        "in_dropped": dropped,
        "out_packets": packets,
        "out_bytes": packets * 100,
        "out_dropped": 0,
        "in_pps": pps,
        "in_bps": None if pps is None else int(pps * 800),
        "out_pps": pps,
        "out_bps": None if pps is None else int(pps * 800),
    }


def vnfc(name: str, runtime: str, pps: float | None = None, dropped: int = 0) -> dict[str, Any]:
    return {
        "id": f"{name}-1111",
        "vdu_id": name,
        "runtime": runtime,
        "host": "host1",
        "cpu_ns": 1_500_000_000,
        "cpu_milli": None if pps is None else 123.4,
        "memory_bytes": 18 << 20,
        "memory_limit_bytes": 64 << 20,
        "processes": 3,
        "ports": [port("left", 1200, pps, dropped), port("right", 1180, pps)],
    }


def chain_sample(second: int = 1, pps: float | None = None, dropped: int = 0) -> dict[str, Any]:
    return {
        "chain": "vcpe",
        "at": f"2026-01-02T03:04:{second:02}.250000+00:00",
        "vnfs": [
            {"alias": "fw", "vnfcs": [vnfc("fw", "CONTAINER", pps, dropped)]},
            {"alias": "rt", "vnfcs": [vnfc("rt", "KATA", pps)]},
        ],
        "ends": [{"name": "client", "resource_id": "sap-1", "ports": [port("client", 1200, pps)]}],
        "paths": [
            {
                "name": "main",
                "hops": [
                    {
                        "name": "fw",
                        "cp": "left",
                        "resource_id": "fw-1111",
                        "packets": 1200,
                        "bytes": 120000,
                        "pps": pps,
                        "bps": None,
                    }
                ],
            }
        ],
    }


def trace_document(broken: str = "") -> dict[str, Any]:
    way = [
        ("client", "client", "forward", "leaves", 0.0),
        ("fw", "left", "forward", "arrives", 18.2),
        ("fw", "right", "forward", "leaves", 31.0),
        ("rt", "left", "forward", "arrives", 55.5),
        ("rt", "right", "forward", "leaves", 240.0),
        ("server", "server", "forward", "arrives", 262.5),
        ("server", "server", "return", "leaves", 270.0),
        ("rt", "right", "return", "arrives", 290.0),
        ("rt", "left", "return", "leaves", 460.0),
        ("fw", "right", "return", "arrives", 1020.0),
        ("fw", "left", "return", "leaves", 1031.0),
        ("client", "client", "return", "arrives", 1046.9),
    ]
    hops = [
        {"name": n, "cp": c, "resource_id": f"{n}-1111", "direction": d, "event": e, "at_us": t}
        for n, c, d, e, t in (way[:4] if broken else way)
    ]
    told = {"rtt_us": 0 if broken else 1047, "complete": not broken, "unsupported": "", "broken": broken}
    return {"chain": "vcpe", "paths": [{"path": "main", "hops": hops, "counts": [], **told}]}


def pcap(*lengths: int) -> bytes:
    """A pcap file with packets of these lengths."""
    data = binary.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for number, length in enumerate(lengths):
        data += binary.pack("<IIII", 1700000000 + number, 0, length, length) + bytes([number]) * length
    return data

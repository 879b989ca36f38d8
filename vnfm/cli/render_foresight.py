"""Tables for `vnfm placement what-if, defragment, replace`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from vnfm.cli.render import coloured, grid
from vnfm.cli.render_chain import host_path, realization, reasons, refused

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

GIB = 1 << 30
SHOWN = 40
COLOURS = {"MOVED": "green", "HEALED": "green", "BETTER": "cyan", "RECREATED": "yellow", "LOST": "red"}
MEANS = {
    "MOVED": "moved while they run",
    "HEALED": "healed: what died is made anew",
    "RECREATED": "would have to be terminated and created anew",
    "LOST": "lost: nothing that is left takes them",
    "BETTER": "could be moved to a better place",
}
Json = dict[str, Any]


def name(entry: Json) -> str:
    """A chain, or a VNF that stands alone, with its tenant where that is not the default one."""
    what = f"chain {entry['chain']}" if entry.get("chain") else f"VNF {entry['vnf']}"
    return what if entry.get("tenant") in (None, "default") else f"{what} of tenant {entry['tenant']}"


def outlook(data: Json) -> RenderableType:
    """`what-if`: what becomes of whom, where each VNF goes, why not; and what is left."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_verdict(data)]
    if data["chains"]:
        parts.append(_fates(data["chains"]))
    if data["moves"]:
        parts.append(_moves(data["moves"]))
    for entry in [c for c in data["chains"] if c["outcome"] == "LOST"][:SHOWN]:
        parts += [Text(f"{name(entry)} would be lost", style="bold red"), refused(entry["refused"])]
    for entry in data["untold"]:
        parts.append(Text(f"{entry['name']}: cannot be looked at: {entry['why']}", style="yellow"))
    parts.append(_headroom(data["headroom"]))
    if data["then"]:
        parts += _admitted(data["then"])
    commands = [c["command"] for c in data["chains"] if c.get("command") and c["outcome"] in ("MOVED", "BETTER")]
    parts += _commands(commands)
    return Group(*parts)


def tidied(data: Json) -> RenderableType:
    """`defragment`: the moves in order, with what each saves."""
    from rich.console import Group
    from rich.text import Text

    s = data["summary"]
    if not data["moves"]:
        parts: list[RenderableType] = [Text("Nothing is gained by moving anything.", style="bold green")]
    else:
        parts = [
            Text(
                f"{_count(s['moves'], 'move')} of {_count(s['vnfcs'], 'VNFC')}, "
                f"{_count(s['servers_emptied'], 'server')} emptied, {_cost(s['cost'])}",
                style="bold",
            ),
            _ordered(data["moves"]),
        ]
    left = []
    if s["servers_pinned"]:
        left.append(
            f"{_count(s['servers_pinned'], 'server')} cannot be emptied: an end or a VNF that cannot be moved is there"
        )
    if s["servers_without_refuge"]:
        left.append(f"{_count(s['servers_without_refuge'], 'server')} could not be emptied: no room elsewhere in use")
    if s["chains_left_out"]:
        left.append(f"{_count(s['chains_left_out'], 'chain')} not looked at: ask for more with --most")
    parts += [Text(line, style="dim") for line in left]
    parts.append(_headroom(data["headroom"]))
    return Group(*parts, *_commands([m["command"] for m in data["moves"]]))


def replacement(data: Json) -> RenderableType:
    """`replace`: where they would go and why; or why they cannot."""
    from rich.console import Group
    from rich.text import Text

    names = ", ".join(data["aliases"])
    head = Text.assemble((f"{names} of chain {data['chain']} ", "bold"))
    if not data["feasible"]:
        return Group(head.append("cannot be moved so", style="red"), refused(data["refused"]))
    if data.get("applied"):
        head.append("moved", style="green")
    elif data["stays"]:
        head.append("would stay: there is no better place now", style="green")
    else:
        head.append("would be moved", style="green")
    rows = ((m["alias"], m["vdu_id"], _spot(m["from"]), _goes(m), _why(m)) for m in data["moves"])
    table = grid("", ["VNF", "VDU", "From", "To", ("Why", {"ratio": 1})], rows)
    table.expand, table.show_lines = True, True
    parts: list[RenderableType] = [head, table]
    if data["saved"]:
        parts.append(Text(_measures(data["before"], data["after"])))
    parts += [Text(f"! {w}", style="yellow") for w in data["warnings"]]
    if data["command"] and not data.get("applied"):
        parts.append(Text("Nothing was touched. CHAIN_UPDATE carries it out, make before break:", style="dim"))
        parts.append(Text(f"  {data['command']}", overflow="fold"))
    return Group(*parts)


# ---- parts ----


def _verdict(data: Json) -> Text:
    from rich.text import Text

    s, asked = data["summary"], data["supposed"]
    what = []
    for key, word in (("drain", "drained"), ("fail_hosts", "lost"), ("fail_zones", "zone lost"),
                      ("fail_sites", "site lost"), ("fail_vims", "VIM lost")):  # fmt: skip
        if asked[key]:
            what.append(f"{word}: {', '.join(asked[key])}")
    what += [f"{a['count']} more servers like {a['like']}" for a in asked["add_hosts"]]
    gone = asked["hosts_drained"] + asked["hosts_failed"]
    text = Text("; ".join(what) or "as things are", style="bold")
    text.append(f" ({_count(gone, 'host')})\n" if gone else "\n", style="dim")
    said = [f"{s[key]} {key}" for key in ("moved", "healed", "recreated", "lost", "better") if s[key]]
    chains = data["running"]["chains"] + data["running"]["vnfs_alone"]
    text.append(
        f"of {chains} that run: {', '.join(said) or 'nothing is touched'}", style="red" if s["lost"] else "green"
    )
    if s["touched"]:
        text.append(f"; {_cost(s['cost'])}")
    return text


def _admitted(then: Json) -> list[RenderableType]:
    """The chain that was asked about, briefly: `chain plan` tells all once it is so."""
    from rich.text import Text

    if not then["feasible"]:
        return [Text(f"Then chain {then['chain']} would not be admitted", style="bold red"), refused(then["refused"])]
    rows = ((v["alias"], realization(v), host_path(v), _why(v)) for v in then["vnfs"])
    table = grid("", ["VNF", "Realized as", "Host", ("Why", {"ratio": 1})], rows)
    table.expand = True
    return [Text(f"Then chain {then['chain']} would be admitted", style="bold green"), table]


def _why(vnf: Json) -> Text:
    """What speaks for it, and what came second; -o json has all that was rejected."""
    return reasons({"reasons": vnf.get("reasons"), "runner_up": vnf.get("runner_up")})


def _fates(chains: Sequence[Json]) -> RenderableType:
    from rich.text import Text

    rows = []
    for entry in chains[:SHOWN]:
        outcome = Text(entry["outcome"], style=COLOURS[entry["outcome"]])
        why = entry.get("why") or (entry["refused"]["detail"] if entry.get("refused") else MEANS[entry["outcome"]])
        rows.append((name(entry), outcome, _saved(entry.get("saved"), -1), why))
    table = grid(_more("", chains), ["", "Outcome", "Change", ("Why", {"ratio": 1})], rows)
    table.expand = True
    return table


def _moves(moves: Sequence[Json]) -> RenderableType:
    going = [m for m in moves if m["from"] != m["to"]]
    rows = ((name(m), m["alias"], m["vdu_id"], _spot(m["from"]), _spot(m["to"])) for m in going[:SHOWN])
    return grid(_more("Moves", going), ["", "VNF", "VDU", "From", "To"], rows)


def _ordered(moves: Sequence[Json]) -> RenderableType:
    rows = []
    for m in moves:
        which = "\n".join(f"{x['alias']}: {_plain(x['from'])} → {_plain(x['to'])}" for x in m["moves"])
        empties = "\n".join(e["host"] for e in m["empties"])
        rows.append((str(m["order"]), name(m), which, empties, _saved(m["saved"])))
    return grid("", ["#", "", "Move", "Empties", "Saves"], rows)


def _headroom(room: Json) -> RenderableType:
    now, then = room["now"], room["then"]
    right: dict[str, Any] = {"justify": "right"}
    rows = [
        ("servers in use", *(f"{r['servers_in_use']} of {r['servers']}" for r in (now, then)), ""),
        ("vCPU free", *(_share(r["cpu_milli"], 1000) for r in (now, then)), _one(then["cpu_milli"], 1000)),
        ("GiB free", *(_share(r["memory_bytes"], GIB) for r in (now, then)), _one(then["memory_bytes"], GIB)),
    ]
    for key, word in (("vfs", "VFs free"), ("gpus", "GPUs free")):
        if now[key]["total"] or then[key]["total"]:
            rows.append((word, *(_share(r[key], 1) for r in (now, then)), _one(then[key], 1)))
    return grid("Headroom", ["", ("Now", right), ("Then", right), ("Most on one host", right)], rows)


def _share(amount: Json, unit: int) -> str:
    return f"{amount['free'] / unit:,.0f} of {amount['total'] / unit:,.0f}"


def _one(amount: Json, unit: int) -> str:
    return f"{amount['most_on_one_host'] / unit:,.0f}"


def _commands(commands: Iterable[str]) -> list[RenderableType]:
    from rich.text import Text

    found = list(commands)
    if not found:
        return []
    lines = found if len(found) <= SHOWN else [*found[:SHOWN], f"… and {len(found) - SHOWN} more: -o json has all"]
    return [Text("Nothing was touched. This carries it out, in this order:", style="dim"),
            *(Text(f"  {line}", overflow="fold") for line in lines)]  # fmt: skip


def _spot(spot: Json) -> Text:
    text = coloured(spot["runtime"])
    text.append(f" {spot['vim']}/{spot['host']}", style="default")
    return text


def _plain(spot: Json) -> str:
    return f"{spot['runtime']} {spot['host']}"


def _goes(move: Json) -> Text | str:
    return "stays" if move["from"] == move["to"] else _spot(move["to"])


def _saved(saved: Json | None, sign: int = 1) -> str:
    """What is saved, or with sign -1 what is more of."""
    if saved is None:
        return "-"
    plus = "+" if sign < 0 else ""
    said = []
    if saved["price"]:
        said.append(f"price {sign * saved['price']:{plus}g}")
    if saved["hops"]:
        said.append(f"{sign * saved['hops']:{plus}d} hops")
    if saved["latency_us"]:
        said.append(f"{sign * saved['latency_us']:{plus}d} us")
    return ", ".join(said) or "nothing"


def _measures(before: Json, after: Json) -> str:
    def one(m: Json) -> str:
        latency = "latency not told" if m["latency_us"] is None else f"{m['latency_us']} us"
        return f"price {m['price']:g}, {_count(m['hops'], 'hop')}, {latency}"

    return f"now {one(before)}; then {one(after)}"


def _cost(cost: Json) -> str:
    price, hops = cost["price"], cost["hops"]
    return f"price {price['before']:g} → {price['after']:g}, hops {hops['before']} → {hops['after']}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _more(title: str, entries: Sequence[Any]) -> str:
    return f"{title} (the first {SHOWN} of {len(entries)})".strip() if len(entries) > SHOWN else title

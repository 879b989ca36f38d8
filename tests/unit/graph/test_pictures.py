"""Pictures: well-formed, the same each time, everything in its box, nothing on top of each other."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree

import pytest

from vnfm.graph import svg
from vnfm.graph.layout import Box, Leaf, Place, arrange
from vnfm.graph.picture import (
    ChainPicture,
    PictureEnd,
    PictureHost,
    PictureLink,
    PicturePath,
    PictureVnf,
    draw_chain,
    draw_vnfd,
)
from vnfm.model.connectivity import Cpd, ExtCpd, VirtualLinkDesc
from vnfm.model.needs import Isolation, Needs
from vnfm.model.placement import Runtime
from vnfm.model.problem import ProblemError
from vnfm.model.vdu import Vdu
from vnfm.model.vnfd import Flavour, Vnfd

NS = "{http://www.w3.org/2000/svg}"
LONG = "a-very-long-name-of-a-function-that-somebody-will-give-it-some-day"


def texts(document: str) -> list[str]:
    """The visible texts; the whole name where it was cut."""
    root = ElementTree.fromstring(document)
    found = []
    for element in root.iter(f"{NS}text"):
        title = element.find(f"{NS}title")
        found.append((title.text if title is not None else element.text) or "")
    return found


def demo() -> ChainPicture:
    return ChainPicture(
        name="vcpe",
        ends=(PictureEnd("client", "10.1.0.0/24"), PictureEnd("server", "10.9.0.0/24")),
        vnfs=(
            PictureVnf("fw", "firewall", Runtime.CONTAINER, "worker", "STARTED"),
            PictureVnf("rt", "router", Runtime.KATA, "machine", "STARTED"),
            PictureVnf("gw", "gateway", Runtime.VM, "machine", "FAILED"),
        ),
        links=(
            PictureLink("client", "fw", "", "left", "10.1.0.1/24", "10.1.0.2/24", 7.25, 100, 100),
            PictureLink("fw", "rt", "right", "left", latency_us=1312, sent=100, received=98),
            PictureLink("rt", "gw"),
            PictureLink("gw", "server"),
        ),
        hosts=(PictureHost("machine", "build-7"), PictureHost("worker", parent="machine")),
        order=("client", "fw", "rt", "gw", "server"),
        state="INSTANTIATED",
        subtitle="client → fw → rt → gw → server",
    )


def test_a_chain_shows_what_is_known_of_it() -> None:
    shown = texts(draw_chain(demo()))
    for words in ("vcpe", "INSTANTIATED", "build-7", "worker", "CONTAINER", "MICROVM", "VM", "10.1.0.2/24", "failed"):
        assert words in shown
    assert {"7.25 µs", "100/100 packets", "1.31 ms", "98/100 packets"} <= set(shown)


def test_the_same_picture_has_the_same_bytes() -> None:
    assert draw_chain(demo()) == draw_chain(demo())


def test_realizations_differ_in_shape_and_not_only_in_colour() -> None:
    def outline(runtime: Runtime | None) -> list[str]:
        picture = ChainPicture("c", (), (PictureVnf("x", "", runtime),), ())
        root = ElementTree.fromstring(draw_chain(picture))
        return [e.tag + e.get("stroke-dasharray", "") + e.get("rx", "") for e in root.iter() if e.get("stroke-width")]

    drawn = [outline(runtime) for runtime in (*Runtime, None)]
    assert all(a != b for a, b in itertools.combinations(drawn, 2))


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a&b", 'quo"te', "tab\there", "\x00\x1b[31m", "名前", LONG]
)
def test_any_name_makes_a_well_formed_picture(name: str) -> None:
    picture = ChainPicture(
        name,
        (PictureEnd(name + "1", name), PictureEnd(name + "2")),
        (PictureVnf(name, name, Runtime.VM, name, name, (name, name)),),
        (PictureLink(name + "1", name, name, name, name, name, 1, 2, 3), PictureLink(name, name + "2")),
        (PictureHost(name, name, "", name),),
        state=name,
        subtitle=name,
    )
    root = ElementTree.fromstring(draw_chain(picture))
    assert not list(root.iter(f"{NS}script"))


def test_a_cut_name_fits_and_tells_the_whole_as_a_tooltip() -> None:
    shown = svg.fit(LONG, 12, 120)
    assert "…" in shown
    assert svg.width(shown, 12) <= 120
    assert (shown[:3], shown[-3:]) == (LONG[:3], LONG[-3:])
    assert LONG in texts(draw_chain(ChainPicture("c", (), (PictureVnf(LONG),), ())))


def test_hosts_in_a_circle_and_links_to_nowhere_do_no_harm() -> None:
    hosts = (PictureHost("a", parent="b"), PictureHost("b", parent="a"), PictureHost("c", parent="gone"))
    vnfs = (PictureVnf("x", host="a"), PictureVnf("y", host="c"), PictureVnf("z", host="unknown"))
    links = (PictureLink("x", "nobody"), PictureLink("x", "x"), PictureLink("z", "x", latency_us=1))
    shown = texts(draw_chain(ChainPicture("odd", (), vnfs, links, hosts)))
    assert {"x", "y", "z"} <= set(shown)


def overlap(a: Place, b: Place) -> bool:
    return a.x < b.x + b.w and b.x < a.x + a.w and a.y < b.y + b.h and b.y < a.y + a.h


def inside(a: Place, b: Place) -> bool:
    return a.x >= b.x and a.y >= b.y and a.x + a.w <= b.x + b.w and a.y + a.h <= b.y + b.h


def test_cards_stand_in_their_boxes_and_nowhere_else() -> None:
    h1 = Box("h1", (Leaf("a", 1), Box("w", (Leaf("b", 2), Leaf("c", 4))), Leaf("d", 6)))
    h2 = Box("h2", (Leaf("e", 3), Leaf("f", 5)))
    layout = arrange([Leaf("start", 0), h1, h2, Leaf("stop", 7)], 8)
    assert not any(overlap(a, b) for a, b in itertools.combinations(layout.cards.values(), 2))
    assert not overlap(layout.boxes["h1"], layout.boxes["h2"])
    assert inside(layout.boxes["w"], layout.boxes["h1"])
    homes = {"a": {"h1"}, "b": {"h1", "w"}, "c": {"h1", "w"}, "d": {"h1"}, "e": {"h2"}, "f": {"h2"}}
    for card, place in layout.cards.items():
        assert {box for box, area in layout.boxes.items() if inside(place, area)} == homes.get(card, set())
        assert all(inside(place, area) or not overlap(place, area) for area in layout.boxes.values())
    assert list(layout.boxes).index("h1") < list(layout.boxes).index("w"), "outermost first, so that all are seen"


def test_a_chain_on_one_host_is_one_straight_line() -> None:
    layout = arrange([Leaf("l", 0, 100, 60), Box("h", (Leaf("a", 1), Leaf("b", 2))), Leaf("r", 3, 100, 60)], 4)
    assert len({place.middle[1] for place in layout.cards.values()}) == 1


def test_a_vnfd_shows_its_vdus_and_cps() -> None:
    unit = Vdu("unit", "unit", "", 500, 64 << 20, 0, Needs(Isolation.TENANT, max_hop_us=50), max_instances=3)
    flavour = Flavour(
        "default",
        vdus=(unit,),
        cps=(Cpd("left", "unit", "", 0), Cpd("data", "unit", "bus", 1, vnic_type="direct")),
        virtual_links=(VirtualLinkDesc("bus", ("10.0.0.0/24",), max_latency_us=100),),
        external_cps=(ExtCpd("left", "left"), ExtCpd("backup", "", "bus")),
    )
    vnfd = Vnfd("id-1", "maker", "thing", "1", "1", (flavour,))
    document = draw_vnfd(vnfd)
    shown = texts(document)
    for words in ("thing", "unit", "left", "backup", "bus", "hop ≤ 50 µs", "isolation tenant", "data · direct"):
        assert words in shown
    assert document == draw_vnfd(vnfd)
    with pytest.raises(ProblemError, match="Expected: default"):
        draw_vnfd(vnfd, "gold")


def test_several_paths_are_drawn_apart_each_in_its_colour_with_what_takes_it() -> None:
    def link(a: str, b: str, path: str, received: int = 10) -> PictureLink:
        return PictureLink(a, b, sent=10, received=received, path=path)

    picture = ChainPicture(
        "c",
        (PictureEnd("client"), PictureEnd("server")),
        (PictureVnf("fw", replicas=3), PictureVnf("dpi", state="HEALING", details=("exit 137",))),
        (
            link("client", "fw", "web"),
            link("fw", "dpi", "web"),
            link("dpi", "server", "web"),
            link("client", "fw", "rest"),
            link("fw", "server", "rest", 3),
        ),
        order=("client", "fw", "dpi", "server"),
        paths=(PicturePath("web", "TCP port 80"), PicturePath("rest", "everything else")),
    )
    drawn = draw_chain(picture)
    for words in ("fw ×3", "healing", "exit 137", "path web: TCP port 80", "path rest: everything else", "3/10"):
        assert words in drawn
    wires = [line for line in drawn.splitlines() if 'stroke-width="2.2"' in line] or [drawn]
    assert len({c for c in ("#2f6db5", "#b5651d", "#c9302c") if any(c in w for w in wires)}) == 3
    assert draw_chain(picture) == drawn

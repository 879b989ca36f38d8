"""Files of chains that were read a moment ago: one file is often created from many times, under other names."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from vnfm.graph.chainfile import read_chain
from vnfm.lcm.shapes import PackageFacts, graph_of
from vnfm.model.chain import ServiceChain
from vnfm.store.packages import Onboarded

MOST_FILES = 32
MOST_BYTES = 32 * 1024  # of a file that is remembered
_File = tuple[bytes, str]


@dataclass(slots=True)
class _Read:
    chain: ServiceChain
    fits: tuple[Onboarded, ...] | None = None  # the packages with which it was seen to fit together


class ChainFiles:
    """Reads files, and says whether they fit together with packages. Lives in one event loop."""

    def __init__(self) -> None:
        self._files: OrderedDict[_File, _Read] = OrderedDict()

    def read(self, text: bytes, filename: str) -> ServiceChain:
        """Raises ProblemError like read_chain."""
        return self._known(text, filename).chain

    def check(self, text: bytes, filename: str, chain: ServiceChain, found: Mapping[str, Onboarded]) -> None:
        """Whether `chain`, which is the file's under whichever name, fits together with the packages, by VNFD id.
        Raises ProblemError like graph_of."""
        known, packages = self._known(text, filename), tuple(found.values())
        if known.fits is not None and _same(packages, known.fits):
            return
        graph_of(chain, {k: PackageFacts(o.package.id, o.vnfd, o.images) for k, o in found.items()})
        known.fits = packages

    def _known(self, text: bytes, filename: str) -> _Read:
        file = (text, filename)
        known = self._files.get(file)
        if known is None:
            known = _Read(read_chain(text, filename))
            if len(text) <= MOST_BYTES:
                self._files[file] = known
                if len(self._files) > MOST_FILES:
                    self._files.popitem(last=False)
        else:
            self._files.move_to_end(file)
        return known


def _same(packages: tuple[Onboarded, ...], before: tuple[Onboarded, ...]) -> bool:
    return len(packages) == len(before) and all(a is b for a, b in zip(packages, before, strict=True))

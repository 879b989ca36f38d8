"""A chain's record as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from vnfm.model.lcm import VnfInstance
from vnfm.store.orders import ChainRecord


def chain_svg(chain: ChainRecord, instances: Sequence[VnfInstance]) -> str:
    """SVG."""
    raise NotImplementedError

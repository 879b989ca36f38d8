"""A full disk has a name."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vnfm.model.problem import Retry, problem


@contextmanager
def full_disk_is_named(folder: Path) -> Iterator[None]:
    """Turn ENOSPC and EDQUOT into the ProblemError `no-space`, which names the folder; let other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        detail = f"the disk that holds {folder} is full; make room there, then try again"
        raise problem("no-space", detail, instance=str(folder), retry=Retry.SAME_CALL) from error

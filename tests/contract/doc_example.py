"""Runs the worked example of docs/plugins.md, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "plugins.md"


def example() -> str:
    """The document's one Python block."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    return str(code)


if __name__ == "__main__":
    exec(compile(example(), "docs/plugins.md", "exec"), {"__name__": "__main__"})

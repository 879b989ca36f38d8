"""Proved optima of generated clouds, kept beside the bench: a gap is measured against what was proved, not estimated.

`python tests/bench/placement_optima.py` proves what is missing and writes placement_optima.json. An entry counts only
for the instance it was proved for, which its digest tells.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/unit/placement")]

from format_checker import check  # noqa: E402
from format_clouds import make  # noqa: E402

FILE = HERE / "placement_optima.json"
SEEDS = {"tiny": range(12), "small": range(12), "tight": range(8)}
LIMIT_S = 240.0


def digest(raw: dict[str, Any]) -> str:
    """Of an instance."""
    return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()[:16]


def proved(family: str) -> list[tuple[dict[str, Any], int]]:
    """Instances of a family and their optima, where the proof is of just that instance."""
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    out = []
    for seed in SEEDS[family]:
        raw = make(family, seed)
        entry = kept.get(raw["name"])
        if entry and entry["digest"] == digest(raw) and entry["optimum"] is not None:
            out.append((raw, int(entry["optimum"])))
    return out


def prove(raw: dict[str, Any]) -> dict[str, Any]:
    """An entry; `optimum` is null where the time was not enough, then `at_least` and `at_most` enclose it."""
    from vnfm.placement.optimal.process import solve
    from vnfm.placement.solution_io import solution_dict
    from vnfm.placement.statement_io import parse_instance

    begun = time.monotonic()
    solution = solve(parse_instance(raw), LIMIT_S)
    verdict = check(raw, solution_dict(solution))
    assert not verdict.violations, verdict.violations
    assert verdict.objective == solution.objective
    optimum = solution.objective if solution.objective == solution.bound else None
    entry = {"digest": digest(raw), "optimum": optimum, "seconds": round(time.monotonic() - begun, 1)}
    return entry if optimum is not None else entry | {"at_least": solution.bound, "at_most": solution.objective}


def main() -> int:
    """The exit code."""
    kept = json.loads(FILE.read_text()) if FILE.exists() else {}
    for family, seeds in SEEDS.items():
        for seed in seeds:
            raw = make(family, seed)
            if kept.get(raw["name"], {}).get("digest") != digest(raw):
                kept[raw["name"]] = prove(raw)
                print(raw["name"], kept[raw["name"]], flush=True)
                lines = (f" {json.dumps(name)}: {json.dumps(entry)}" for name, entry in kept.items())
                FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m vnfm.placement.solve INSTANCE.json --time S -o SOLUTION.json`: a batch, near the optimum, by a deadline.

Writes a solution of the placement format with `objective`, `bound` and `gap`. Exit codes: 0 written, 1 the instance is
refused (the path of the field is told) or the solution could not be written, 2 wrong use of the command line.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from vnfm.model.problem import ProblemError
from vnfm.placement.optimal.process import Worker, WorkerDiedError, solution_of
from vnfm.placement.solution_io import solution_dict
from vnfm.placement.statement import Solution

WRITING_S = 0.2  # of the time asked for is kept for reading back and writing


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    begun = time.monotonic()
    options = _options(arguments)
    try:
        raw = options.instance.read_bytes()
    except OSError as error:
        return _say(f"{options.instance}: {error.strerror or error}", 2)
    until = begun + options.time - min(WRITING_S, 0.1 * options.time)
    try:
        solution = _solved(raw, until, options)
        _write(options.output, json.dumps(solution_dict(solution), separators=(",", ":")) + "\n")
    except ProblemError as error:
        return _say(f"{options.instance}: {error.problem.detail}", 1)
    except (ValueError, RecursionError) as error:
        return _say(f"{options.instance}: not JSON: {error}", 1)
    except WorkerDiedError as error:
        return _say(str(error), 1)
    except OSError as error:
        return _say(f"{options.output}: {error.strerror or error}", 1)
    accepted = sum(a.accepted for a in solution.chains)
    gap = f"gap {100 * (solution.gap or 0.0):.2f} %"
    text = f"{accepted} of {len(solution.chains)} chains, objective {solution.objective}, bound {solution.bound}, {gap}"
    return _say(text, 0)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m vnfm.placement.solve", description=__doc__)
    parser.add_argument("instance", type=Path, metavar="INSTANCE.json")
    parser.add_argument("--time", type=_seconds, default=10.0, metavar="S", help="seconds, all told (default 10)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="SOLUTION.json")
    parser.add_argument("--seed", type=_natural, default=1, metavar="N", help="of what is random (default 1)")
    parser.add_argument("--threads", type=_natural, default=None, metavar="N", help="default: all processors")
    return parser.parse_args(arguments)


def _seconds(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text}")
    return value


def _natural(text: str) -> int:
    value = int(text)
    if not 0 < value < 1 << 31:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {(1 << 31) - 1}, got {text}")
    return value


def _solved(raw: bytes, until: float, options: argparse.Namespace) -> Solution:
    """The worker reads the instance while this process only looks for what it has to say where that is too slow."""
    with Worker(until, options.seed, options.threads) as worker:
        data = json.loads(raw)  # what is no JSON never reaches the worker
        worker.send(raw)
        told = worker.best()
    return solution_of(data.get("name") or "", [(c["id"], c.get("value", 0)) for c in data.get("chains") or ()], told)


def _write(path: Path, text: str) -> None:
    """Whole or not at all; what is no ordinary file is written as it is."""
    if path.exists() and not path.is_file():
        path.write_text(text)
        return
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(text)
            file.close()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def _say(text: str, code: int) -> int:
    sys.stderr.write(text + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())

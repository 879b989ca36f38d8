"""Coverage-guided fuzzing of package reading: `fuzz_package.py archive|manifest|signature|vnfd [CORPUS|FILE]…`

Needs atheris, which is no dependency of the project; `make fuzz` sees to it and to a corpus to begin with. Options of
libFuzzer go along, such as `-max_total_time=60`. The same targets run under hypothesis in
tests/unit/tosca/test_package_fuzz.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2])]


def main() -> int:
    try:
        import atheris
    except ImportError:
        print("atheris is not installed: pip install atheris", file=sys.stderr)
        return 2
    with atheris.instrument_imports(include=["vnfm.tosca"]):
        from package_targets import TARGETS
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        print(__doc__, file=sys.stderr)
        return 2
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

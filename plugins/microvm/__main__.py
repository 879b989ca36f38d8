"""Program `vnfm-microvm`."""

import sys

from plugins.microvm import quick


def main() -> None:
    """Run the command line and leave with its exit code."""
    code = quick.start(sys.argv[1:])
    if code is None:
        from plugins.microvm.cli import run

        code = run(sys.argv[1:])
    sys.exit(code)


if __name__ == "__main__":
    main()

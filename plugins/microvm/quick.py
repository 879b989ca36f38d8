"""`start` without the time that reading arguments in full takes, since every container passes here."""

from __future__ import annotations

import sys

from plugins.microvm import statefile
from plugins.microvm.client import RelayConnection
from plugins.microvm.errors import NotRunning, RuntimeFailure
from plugins.microvm.log import write_log

ANSWER_SECONDS = 30.0
_OPTIONS = {"--root": "/run/vnfm-microvm", "--log": "", "--log-format": "text", "--cache": ""}


def start(argv: list[str]) -> int | None:
    """The exit code; None where the full command line has to do it, or to say what is wrong."""
    options = dict(_OPTIONS)
    words = list(argv)
    while len(words) > 2 and words[0] in options:
        options[words[0]] = words[1]
        del words[:2]
    if len(words) != 2 or words[0] != "start" or words[1].startswith(("-", ".")) or "/" in words[1]:
        return None
    folder = f"{options['--root']}/{words[1]}"
    try:
        fields = statefile.read(folder)
        alive = statefile.start_time(int(str(fields["pid"]))) == fields["start_time"]
        if fields["status"] != statefile.CREATED or not alive:
            return None
        with RelayConnection(folder, ANSWER_SECONDS) as relay:
            relay.ask(do="start")
    except (OSError, ValueError, KeyError, NotRunning):
        return None
    except RuntimeFailure as error:
        print(f"vnfm-microvm: {error}", file=sys.stderr)  # noqa: T201
        write_log(options["--log"], options["--log-format"], "error", str(error))
        return 1
    return 0

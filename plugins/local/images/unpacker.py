"""The child process that unpacks an archive: bounded in memory and time, away from the plugin's event loop.

python -m plugins.local.images.unpacker ARCHIVE FORMAT ARCHITECTURE ROOT UNPACKED_BYTES FILES

Prints one JSON object: {"config": {...}, "unpacked_bytes": N, "files": N} or {"refused": detail, "word": word}
or {"errno": N, "detail": text}.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from dataclasses import asdict

from plugins.local.images.archives import unpack
from plugins.local.images.errors import ImageRefused
from plugins.local.images.tree import Bounds, Tree

_MEMORY_BYTES = 1 << 30


def main(argv: list[str]) -> int:
    """Unpacks; the outcome is on stdout, the exit code is 0 whenever there is one."""
    archive, image_format, architecture, root, unpacked_bytes, files = argv
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    os.umask(0)
    tree = Tree(os.open(root, os.O_RDONLY | os.O_DIRECTORY), Bounds(int(unpacked_bytes), int(files)))
    try:
        with open(archive, "rb") as stream:
            config = unpack(stream, image_format, architecture, tree)
        answer: dict[str, object] = {
            "config": asdict(config),
            "unpacked_bytes": tree.unpacked_bytes,
            "files": tree.files,
        }
    except ImageRefused as refused:
        answer = {"refused": refused.detail, "word": refused.word}
    except MemoryError:
        answer = {"refused": "reading it needs more than 1 GiB of memory", "word": "image-too-large"}
    except OSError as error:
        answer = {"errno": error.errno or 0, "detail": str(error)}
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Why an image is not taken; plain so that the unpacking child process can name it on its stdout."""

from __future__ import annotations


class ImageRefused(Exception):
    """The image itself is at fault: malformed, hostile or of a kind that cannot be used. `word` names the problem."""

    def __init__(self, detail: str, word: str = "image-refused") -> None:
        super().__init__(detail)
        self.word = word
        self.detail = detail

"""The one kind of failure that a caller is told about."""


class RuntimeFailure(Exception):
    """A command cannot be done; the text is for the caller's eyes."""


class NotFound(RuntimeFailure):
    """The container is unknown here; runc's words, which callers look for."""

    def __init__(self, container: str) -> None:
        super().__init__(f"container {container!r} does not exist: container does not exist")


class NotRunning(RuntimeFailure):
    """The container has stopped already; runc's words, which callers look for."""

    def __init__(self) -> None:
        super().__init__("container not running")

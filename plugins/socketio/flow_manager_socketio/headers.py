"""The headers of an ASGI scope, and those that every answer carries."""

from __future__ import annotations

from flow_manager_socketio.line import Message, Scope

#: A browser shall take nothing of ours for a page or a script, and keep no copy.
SAFE = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))


def values(scope: Scope, name: bytes) -> list[str]:
    """All values of a header, in their order."""
    return [v.decode("latin-1") for k, v in scope["headers"] if k.lower() == name]


def header(scope: Scope, name: bytes) -> str:
    """All values of a header in one; two where one belongs match nothing that is allowed."""
    return ",".join(values(scope, name))


def with_headers(message: Message, more: list[tuple[bytes, bytes]]) -> Message:
    """Add headers to the beginning of a response; those that are there already win."""
    present = {name.lower() for name, _ in message.get("headers", ())}
    added = [(name, value) for name, value in more if name not in present]
    return {**message, "headers": [*message.get("headers", ()), *added]}

"""What a backend does that makes backups. Import it from `contracts`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from flow_manager_core.models import (
    Attachment,
    Part,
    Snapshot,
)


class PartSink(Protocol):
    """Takes the bytes of one part. Blocking: for a backend's worker threads."""

    def write(self, data: bytes, /) -> int:
        """Write all of `data`; what it raises ends the transfer and is not to be changed."""


class PartSource(Protocol):
    """Gives the bytes of one part. Blocking: for a backend's worker threads.

    Its content was checked: a whole tar, whose names stay below its folder. `size` is in bytes.
    """

    size: int

    def read(self, size: int = -1, /) -> bytes:
        """Read the next bytes, fewer at the end alone; what it raises ends the transfer."""

    def tell(self) -> int:
        """Bytes read so far."""


class Snapshots(ABC):
    """A backend that can hand out what a container has, and make one of that again.

    A part is an uncompressed tar with relative names, owners, modes and links; however big it is,
    it is passed on bit by bit. The manager ends a transfer in which nothing moves, by cancelling
    it; a thread that is left behind is stopped by its sink or source.
    """

    @abstractmethod
    async def describe(self, container_id: str, attachment: Attachment) -> Snapshot:
        """Say what the container is and has.

        Args:
            attachment: the channel's, which is no part of the spec.

        Raises:
            ContainerNotFound: there is no such container.
        """

    @abstractmethod
    async def freeze(self, container_id: str) -> None:
        """Halt the container's program where it is, so that its files stand still."""

    @abstractmethod
    async def thaw(self, container_id: str) -> None:
        """Let it go on; does nothing when it is not frozen."""

    @abstractmethod
    async def save(self, container_id: str, part: Part, sink: PartSink) -> None:
        """Write one part of `Snapshot.parts` into the sink.

        Raises:
            EngineError: it cannot be read, or is gone.
        """

    @abstractmethod
    async def ground(self, key: str, snapshot: Snapshot, source: PartSource) -> str:
        """Take in a container's file system, where that is before the container; return its image.

        The container is made of the image then, and `fill` does not get this part. Where a file
        system is the container's own, read nothing and return an empty text.

        Args:
            key: names what is made for it, for `discard`.
        """

    @abstractmethod
    async def occupied(self, container_id: str, part: Part) -> bool:
        """Whether there is something already in the part's place that is not the container's own.

        Raises:
            EngineError: the container has no such place.
        """

    @abstractmethod
    async def fill(self, container_id: str, part: Part, source: PartSource) -> None:
        """Write a part into a container that never ran, over what is there."""

    @abstractmethod
    async def discard(self, key: str) -> None:
        """Take away what `ground` made under this key, unless a container stands on it."""

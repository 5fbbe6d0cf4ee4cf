"""Fetching an image: a stream of progress that can be given up at any time."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import anyio
from anyio import from_thread, to_thread
from attrs import define, field
from docker import auth
from docker.utils import parse_repository_tag

from flow_manager_core.models import PullProgress
from flow_manager_docker.client import Abortable, EngineClient
from flow_manager_docker.errors_map import PullRefused

Report = Callable[[PullProgress], None]

#: Seconds between two reports of the same status.
REPORT_INTERVAL = 0.25


@define
class ProgressThrottle:
    """Lets changes of a layer's status through, and of the rest about four a second."""

    _statuses: dict[str | None, str] = field(factory=dict)
    _last: float = float("-inf")

    def passes(self, progress: PullProgress, now: float) -> bool:
        """Tell whether to report it; `now` is of a monotonic clock, in seconds."""
        changed = self._statuses.get(progress.layer) != progress.status
        self._statuses[progress.layer] = progress.status
        if not changed and now - self._last < REPORT_INTERVAL:
            return False
        self._last = now
        return True


class Pull:
    """One pull, with a client of its own, so that a ``docker login`` since the last one counts.

    Args:
        image: as the client wrote it.
        report: called in the event loop.
        stall_timeout: seconds without any news after which it is given up.
    """

    def __init__(self, image: str, report: Report, stall_timeout: float) -> None:
        self._image = image
        self._report = report
        self._stall_timeout = stall_timeout
        self._handle = Abortable()
        self._throttle = ProgressThrottle()

    async def run(self, limiter: anyio.CapacityLimiter) -> None:
        """Pull; when left early, the engine is made to give up as well.

        Raises:
            PullRefused: the engine says why not; and what the SDK raises.
        """
        try:
            await to_thread.run_sync(self._pull, abandon_on_cancel=True, limiter=limiter)
        finally:
            self._handle.abort()

    def _pull(self) -> None:
        with EngineClient(self._stall_timeout) as client:
            query, headers = parameters(self._image), credentials(client, self._image)
            with client.open("POST", "/images/create", params=query, headers=headers) as stream:
                if not self._handle.adopt(stream):
                    return
                for news in stream.objects():
                    self._take(news)

    def _take(self, news: dict[str, Any]) -> None:
        if "error" in news:
            raise PullRefused(news["error"])
        progress = read_progress(self._image, news)
        if self._throttle.passes(progress, time.monotonic()):
            # The loop may be gone, or the pull given up: then nobody listens any more.
            with suppress(RuntimeError):
                from_thread.run_sync(self._deliver, progress)

    def _deliver(self, progress: PullProgress) -> None:
        if not self._handle.aborted:
            self._report(progress)


def parameters(image: str) -> dict[str, str]:
    """The query of ``POST /images/create``; the tag may be a digest, ``latest`` by default."""
    repository, tag = parse_repository_tag(image)
    return {"fromImage": repository, "tag": tag or "latest"}


def credentials(client: EngineClient, image: str) -> dict[str, str]:
    """The header with what Docker's own configuration has for the image's registry, if anything."""
    registry, _ = auth.resolve_repository_name(parse_repository_tag(image)[0])
    header = auth.get_config_header(client.api, registry)
    return {"X-Registry-Auth": header.decode()} if header else {}


def read_progress(image: str, news: dict[str, Any]) -> PullProgress:
    """Read one line of a pull's stream."""
    detail = news.get("progressDetail") or {}
    return PullProgress(
        image=image,
        status=news.get("status", ""),
        layer=news.get("id"),
        current=detail.get("current"),
        total=detail.get("total"),
    )

"""How quickly one client may ask: a token bucket for each session."""

from __future__ import annotations

from attrs import define


@define
class _Bucket:
    left: float
    at: float


class Pace:
    """Says how long to wait before a packet is taken.

    A bucket may be in debt: its client has already been told to wait for that.

    Args:
        rate: packets a second.
        burst: packets at once beyond it.
    """

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: dict[str, _Bucket] = {}

    def wait(self, session: str, now: float) -> float:
        """Count a packet; return the seconds to wait, 0 for none."""
        bucket = self._buckets.get(session)
        if bucket is None:
            bucket = self._buckets[session] = _Bucket(self._burst, now)
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._rate) - 1
        bucket.at = now
        return max(0.0, -bucket.left / self._rate)

    def forget(self, session: str) -> None:
        """A session is over."""
        self._buckets.pop(session, None)

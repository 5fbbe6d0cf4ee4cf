"""What each flow is expected to be, from what was acknowledged and what was done to it.

Where nobody can know, because a request failed in a way that may be tried again or its answer was
lost, several things may be so until the next acknowledged request.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field

UP, DOWN, GONE = "up", "down", "gone"

#: A patience that outlasts any run of this test.
RESTART: dict[str, Any] = {
    "max_attempts": 10_000,
    "first_delay": 0.2,
    "factor": 1,
    "max_delay": 0.5,
    "jitter": 0.5,
}


@define
class Flow:
    """One flow's expectation.

    Args:
        policy: when the manager starts it again by itself.
        deaf: it does not hear SIGTERM, and so is killed by every stop.
        wishes: what it may be, of `UP`, `DOWN` and `GONE`.
        versions: what its code may be.
        pending: the payload of a create of which nobody knows what came.
        in_doubt: something was asked of it of which nobody knows what came, or will come.
    """

    name: str
    policy: str
    deaf: bool
    wishes: set[str] = field(factory=lambda: {GONE})
    versions: set[int] = field(factory=set)
    pending: dict[str, Any] | None = None
    in_doubt: bool = False

    @property
    def certain(self) -> bool:
        """Whether there is but one thing that it may be and become."""
        return len(self.wishes) == 1 and not self.in_doubt

    def acknowledged(self, wish: str) -> None:
        """It was asked for, and is so: what came of a create is known as well."""
        self.wishes, self.pending, self.in_doubt = {wish}, None, False
        if wish == GONE:
            self.versions = set()

    def doubtful(self, wish: str) -> None:
        """It was asked for, and may be so."""
        self.wishes, self.in_doubt = self.wishes | {wish}, True

    def made(self, version: int) -> None:
        """A create was answered."""
        self.acknowledged(UP)
        self.versions = {version}

    def missing(self) -> bool:
        """The manager says that it is not there; tell whether that may be."""
        possible = GONE in self.wishes
        if possible:
            self.acknowledged(GONE)
        return possible

    def ended(self, code: int | None) -> None:
        """Its program ended.

        Args:
            code: its exit code, ``None`` for a SIGKILL.
        """
        crashed = code != 0
        again = self.policy == "always" or (self.policy == "on-crash" and crashed)
        if UP in self.wishes and not again:
            # Asked for in vain, a run may yet be begun.
            self.wishes = (self.wishes if self.in_doubt else self.wishes - {UP}) | {DOWN}

    def outage(self) -> None:
        """The engine ended, and perhaps the flow with it; only a policy brings it back."""
        if UP in self.wishes and self.policy == "never":
            self.doubtful(DOWN)

    def found(self, actual: str, version: int | None) -> None:
        """What was in doubt is known now."""
        self.acknowledged(actual)
        if version is not None:
            self.versions = {version}

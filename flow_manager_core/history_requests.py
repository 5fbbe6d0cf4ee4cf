"""The requests about what was done and told: one class each, as in `requests`."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from attrs import frozen

from flow_manager_core.fields import (
    ActivityKinds,
    AskerName,
    ContainerRef,
    Offset,
    PageSize,
    RequestId,
)
from flow_manager_core.models import Fault
from flow_manager_core.requests import Request, Since
from flow_manager_core.structuring import Faulty

#: What `HistoryCursor` writes: two numbers below 2 to the 63rd.
_CURSOR = re.compile(r"([0-9]{1,18})/([0-9]{1,9})")


@frozen(kw_only=True)
class GetOperation(Request):
    """Ask what came of a request that was to change something; of another's, with `by`."""

    operation: ClassVar[str] = "get_operation"
    request_id: RequestId
    by: AskerName | None = None


@frozen
class HistoryCursor:
    """A place in the history: beside an event, by its number, and lines to pass over from there."""

    seq: int
    skip: int = 0

    @classmethod
    def parse(cls, value: Any) -> HistoryCursor:
        """Read what `str` wrote.

        Raises:
            ValueError: it is something else.
        """
        found = _CURSOR.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError("no cursor")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.seq}/{self.skip}"


@frozen(kw_only=True)
class GetActivityLog(Request):
    """Read the activities that were told, oldest first or newest first, a page at a time."""

    operation: ClassVar[str] = "get_activity_log"
    container_id: ContainerRef | None = None
    kinds: ActivityKinds = ActivityKinds(frozenset())
    since: Since | None = None
    until: Since | None = None
    offset: Offset = Offset(0)
    cursor: HistoryCursor | None = None
    limit: PageSize = PageSize(100)
    newest_first: bool = False

    def __attrs_post_init__(self) -> None:
        """Refuse two beginnings.

        Raises:
            Faulty: there are.
        """
        if self.cursor is not None and self.offset:
            raise Faulty(Fault("offset", "is in the cursor already: give one"))

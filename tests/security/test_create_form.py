"""Creates that must not be are refused before any engine hears of them; all faults at once."""

from __future__ import annotations

from typing import Any

import pytest

from flow_manager_core.backups.manifest import Manifest
from flow_manager_core.errors import InvalidRequest
from flow_manager_core.events import now
from flow_manager_core.requests import CreateContainer
from flow_manager_core.wire import parse_request
from tests.security.create_rows import Row, rows_of_form

ROWS = rows_of_form()


def faulty(payload: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(CreateContainer, {"image": "any", **payload})
    return tuple(sorted({fault.field for fault in caught.value.faults}))


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_client_cannot_ask_for_what_no_container_may_be(row: Row) -> None:
    assert faulty(row.payload) == row.faulty


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_backup_cannot_ask_for_what_no_container_may_be(row: Row) -> None:
    manifest = Manifest(
        backend="any",
        made=now(),
        container_id="",
        container={"image": "any", **row.payload},
        has_code=False,
        parts=(),
        notes={},
    )
    with pytest.raises(InvalidRequest) as caught:
        manifest.request(None, {})
    fields = {fault.field.removeprefix("container.") for fault in caught.value.faults}
    assert tuple(sorted(fields)) == row.faulty

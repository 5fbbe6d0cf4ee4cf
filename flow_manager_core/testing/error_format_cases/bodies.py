"""Cases: a client can tell what failed, when, and whether to try again."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from flow_manager_core.errors import EngineError, FlowManagerError
from flow_manager_core.testing.error_format_cases.formats import AT, KINDS, Formats, failure

#: RFC 3339, 5.6, in UTC.
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
#: Where roundings and paddings go wrong.
TIMES = (
    AT,
    datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2030, 1, 1, tzinfo=UTC),
    datetime(2030, 1, 1, 0, 0, 0, 999, tzinfo=UTC),
)
JSON_TYPE = re.compile(r"application/([a-z0-9.-]+\+)?json")


class BodyCases(Formats):
    """What every body carries."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_client_can_tell_what_failed(self, kind: type[FlowManagerError]) -> None:
        body = self.body(failure(kind, "it went wrong", operation="start_container"))
        assert self.error_type_of(body) == kind.error_type
        assert "it went wrong" in str(self.message_of(body))

    @pytest.mark.parametrize("retryable", [True, False])
    def test_a_client_can_tell_whether_to_try_again(self, retryable: bool) -> None:
        body = self.body(EngineError("The engine failed", retryable=retryable))
        assert self.retryable_of(body) is retryable

    @pytest.mark.parametrize("at", TIMES, ids=str)
    def test_the_time_is_told_in_rfc_3339_and_utc(self, at: datetime) -> None:
        found = str(self.timestamp_of(self.body(EngineError("The engine failed"), at)))
        assert TIMESTAMP.fullmatch(found)
        assert timedelta(0) <= at - datetime.fromisoformat(found) < timedelta(seconds=1)

    def test_what_the_failure_is_about_is_told(self) -> None:
        error = EngineError("No", container_id="0123456789ab", request_id="of-the-client")
        text = self.text(error)
        assert "0123456789ab" in text
        assert "of-the-client" in text

    def test_its_media_type_if_it_names_one_is_one_of_json(self) -> None:
        found = getattr(self.make(), "media_type", "application/json")
        assert JSON_TYPE.fullmatch(found)

    def test_every_setting_has_a_default(self) -> None:
        kind = self.provider.settings_class
        assert attrs.has(kind)
        assert [a.name for a in attrs.fields(kind) if a.default is attrs.NOTHING] == []

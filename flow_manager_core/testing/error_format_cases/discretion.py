"""Cases: nothing is told that is nobody's business, and nothing is changed by telling it."""

from __future__ import annotations

import copy

import pytest

from flow_manager_core.errors import FlowManagerError
from flow_manager_core.testing.error_format_cases.formats import AT, KINDS, Formats, failure

SECRET = "hunter2-of-the-registry"


class DiscretionCases(Formats):
    """An error format is pure, and tells of a failure what it says itself."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_neither_the_cause_nor_the_place_in_the_code_is_told(
        self, kind: type[FlowManagerError]
    ) -> None:
        text = self.text(raised(kind))
        assert SECRET not in text
        assert "Traceback" not in text
        assert __file__ not in text
        assert "ZeroDivisionError" not in text

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_failure_is_told_the_same_every_time_and_stays_as_it_was(
        self, kind: type[FlowManagerError]
    ) -> None:
        error = failure(kind, "No", container_id="0123456789ab", errors=[{"field": "a"}])
        before = copy.deepcopy(vars(error))
        form = self.make()
        first = form(error, AT)
        assert form(error, AT) == first == self.make()(error, AT)
        assert vars(error) == before
        assert error.args

    def test_failures_do_not_hear_of_each_other(self) -> None:
        form = self.make()
        for kind in KINDS:
            form(failure(kind, "another one's", only_of=kind.__name__), AT)
        error = failure(KINDS[0], "No")
        assert form(error, AT) == self.make()(error, AT)


def raised(kind: type[FlowManagerError]) -> FlowManagerError:
    """A failure as it is caught, with a cause that knows a secret and a note of a debugger."""
    password = SECRET
    try:
        try:
            raise ZeroDivisionError(f"password={password}")
        except ZeroDivisionError as cause:
            raise failure(kind, "It went wrong") from cause
    except FlowManagerError as error:
        error.add_note(f"note: {SECRET}")
        return error

"""Cases: whatever a failure holds, clients get JSON that every language reads."""

from __future__ import annotations

import math
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_manager_core.errors import EngineError, FlowManagerError
from flow_manager_core.testing.error_format_cases.formats import KINDS, Formats, failure, inherited

TEXTS = {
    "nothing": "",
    "newlines": "one\ntwo\r\nthree\u2028four",
    "ANSI": "\x1b[2J\x1b[31mred\x07",
    "NUL": "a\0b",
    "a lone surrogate": "caf\udce9 and \ud800",
    "a pair of surrogates": "\ud83d\ude00",
    "right to left": "\u202egnp.exe",
    "markup": "</script><script>alert(1)</script>",
    "placeholders": "{0} {error.__class__} %s %(x)s",
    "a mebibyte": "x" * 2**20,
}


def _deep(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


DETAILS: dict[str, Any] = {
    "nested": {"a": [{"b": (1, 2.5, None, True)}], "c": {}},
    "very deep": _deep(5000),
    "no numbers": [math.nan, math.inf, -math.inf],
    "a huge number": 10**5000,
    "text": list(TEXTS.values())[:-1],
    "keys that are none": {1: "a", None: "b", (1, 2): "c", "\ud800": "d", 10**5000: "e"},
    "bytes": b"\xff\x00",
    "a path": PurePosixPath("/srv/caf\udce9"),
    "a set": {1},
    "an object": object(),
}

#: A few characters of each sort that somebody stumbles over.
_TEXT = st.text(st.sampled_from('a \0\n\x1b\x7f"\\\u00e9\u2028\ud800\udce9\U0001f600'), max_size=20)
#: Everything that JSON can say, and the texts and numbers that it cannot.
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
    max_leaves=20,
)


class HostilityCases(Formats):
    """An error format is total."""

    @pytest.mark.parametrize("case", TEXTS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_any_message_of_any_failure_can_be_told(
        self, kind: type[FlowManagerError], case: str
    ) -> None:
        body = self.body(failure(kind, TEXTS[case]))
        assert self.error_type_of(body) == kind.error_type

    @pytest.mark.parametrize("case", DETAILS)
    def test_any_details_can_be_told(self, case: str) -> None:
        body = self.body(EngineError("No", detail=DETAILS[case], container_id="0123456789ab"))
        assert self.error_type_of(body) == EngineError.error_type

    @inherited
    @given(_TEXT, st.dictionaries(_TEXT, _ANYTHING))
    def test_anything_else_can_be_told(self, message: str, details: dict[str, Any]) -> None:
        error = EngineError(message)
        error.about(**details)
        assert self.error_type_of(self.body(error)) == EngineError.error_type

    def test_a_failure_that_a_plugin_made_up_can_be_told(self) -> None:
        class OutOfPaper(EngineError):
            """A kind of failure that the contract does not know."""

            error_type = "out of paper / ü"

        assert self.error_type_of(self.body(OutOfPaper("No"))) == "out of paper / ü"

"""A few seconds of the fuzzing, and what it does when it finds something."""

from __future__ import annotations

import pytest

from flow_manager_core import frame_json, framing
from tests.fuzz import run
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_gets_anything_but_what_is_promised(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([name, "--seconds", "1", "--seed", "5"]) == 0
    assert "crashes 0  seed 5" in capsys.readouterr().out


def test_a_crash_is_told_with_its_input_and_found_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_json, "DEPTH_LIMIT", 10**9)
    monkeypatch.setattr(frame_json, "_no_constant", float)
    monkeypatch.setattr(framing, "_as_message", lambda found: found["command"])
    assert run.main(["bodies", "--seconds", "5", "--seed", "5"]) == 1
    told = capsys.readouterr().out
    assert "crashes 1" in told
    (again,) = [line for line in told.splitlines() if line.startswith("again: ")]
    arguments = again.split("tests.fuzz.run ")[1].split()
    with pytest.raises((TypeError, KeyError, AttributeError)):
        run.main(arguments)

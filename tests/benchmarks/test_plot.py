"""The picture: a row for each target, the better the further to the right."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.plot import interval, plot
from benchmarks.rows import Row

RATE = Row(name="a rate", beside="x", unit="", ours=[9, 12], theirs=[10, 10], target=0.9)
SHARE = Row(name="a share", beside="", unit="%", ours=[1, 2, 4], target=2, at_least=False)
PLAIN = Row(name="no target", beside="", unit="KiB", ours=[7])


def test_an_interval_is_above_one_where_the_target_is_met_whichever_way_it_goes() -> None:
    rate, share = interval(RATE), interval(SHARE)
    assert (rate.low, rate.high) == (pytest.approx(1.0), pytest.approx(1.2 / 0.9))
    assert (share.low, share.median, share.high) == (0.5, 1, 2)


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_picture_is_written(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("matplotlib", reason="NOT TESTED: the picture (dependency group bench)")
    path = tmp_path / f"rows.{kind}"
    plot([RATE, SHARE, PLAIN], path)
    first = path.read_bytes()
    assert first.startswith(b"\x89PNG" if kind == "png" else b"<?xml")
    if kind == "svg":
        assert b"a rate" in first
        assert b"a share" in first
        assert b"no target" not in first
        plot([RATE, SHARE, PLAIN], path)
        assert path.read_bytes() == first, "the same rows make another file"

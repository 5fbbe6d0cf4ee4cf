"""A test whose words cannot be encoded is reported, and takes no worker down."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_cannot_be_encoded_is_told_escaped(pytester: pytest.Pytester, workers: str) -> None:
    pytester.makeconftest('pytest_plugins = ["tests.support.plain_reports"]')
    pytester.makepyfile(
        """
        import logging

        def test_logs():
            logging.getLogger("x").error("bad \\ud800 line")

        def test_fails():
            logging.getLogger("x").error("bad \\ud800 line")
            assert "\\ud800" == "other"
        """
    )
    ran = pytester.runpytest_subprocess("-n", workers, "-p", "no:cacheprovider")
    ran.assert_outcomes(passed=1, failed=1)
    ran.stdout.fnmatch_lines(["*bad \\ud800 line*"])

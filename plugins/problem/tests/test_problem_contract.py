"""Problem details keep the contract of all error formats, for both ways of reading them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import unquote

from flow_manager_core.testing.error_format_suite import ErrorFormatSuite
from flow_manager_problem import ProblemSettings
from flow_manager_problem.plugin import PROVIDER


class TestReadAsTheStandardFormat(ErrorFormatSuite):
    provider = PROVIDER


class TestReadAsProblemDetails(ErrorFormatSuite):
    provider = PROVIDER
    settings: ClassVar[object] = ProblemSettings(type_base="urn:example:")

    def error_type_of(self, body: Mapping[str, Any]) -> object:
        return unquote(body["type"].removeprefix("urn:example:"))

    def message_of(self, body: Mapping[str, Any]) -> object:
        return body["detail"]

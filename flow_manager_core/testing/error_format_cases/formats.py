"""What the cases build on: the format in question, every kind of failure, how bodies are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import hypothesis

from flow_manager_core import errors
from flow_manager_core.contracts import ErrorFormat
from flow_manager_core.errors import ConfigurationError, FlowManagerError, InvalidRequest
from flow_manager_core.log import get_log
from flow_manager_core.models import Fault
from flow_manager_core.providers import ErrorFormatProvider, ProviderContext
from flow_manager_core.settings import Settings

#: When the failures of the cases are told.
AT = datetime(2025, 7, 21, 10, 30, 0, 123456, tzinfo=UTC)


def tree(kind: type[FlowManagerError] = FlowManagerError) -> Iterator[type[FlowManagerError]]:
    """Every class of the core's exceptions, from the root down."""
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


KINDS = tuple(tree())


def failure(kind: type[FlowManagerError], text: str, **details: Any) -> FlowManagerError:
    """A failure of a kind that says something."""
    if issubclass(kind, (InvalidRequest, ConfigurationError)):
        return kind([Fault("field", text)]).about(**details)
    return kind(text, **details)


#: Cases are inherited by each format's class, and keep nothing between them. Why an example fails
#: is told by its assertion; looking for its causes would trace a thousand runs.
inherited: hypothesis.settings = hypothesis.settings(
    deadline=None,
    max_examples=50,
    phases=[p for p in hypothesis.Phase if p is not hypothesis.Phase.explain],
    suppress_health_check=[hypothesis.HealthCheck.differing_executors],
)


class Formats:
    """The hooks of the suite. Set the attributes; override a method where they do not suffice."""

    #: The format's provider record.
    provider: ClassVar[ErrorFormatProvider]
    #: The provider's settings; ``None``: its settings class with its defaults.
    settings: ClassVar[object] = None

    def error_type_of(self, body: Mapping[str, Any]) -> object:
        """Read the ``error_type`` out of a body: by it clients tell failures apart."""
        return body["error_type"]

    def message_of(self, body: Mapping[str, Any]) -> object:
        """Read the sentence for people."""
        return body["message"]

    def retryable_of(self, body: Mapping[str, Any]) -> object:
        """Read whether the same request may succeed later."""
        return body["details"]["retryable"]

    def timestamp_of(self, body: Mapping[str, Any]) -> object:
        """Read when the failure was told."""
        return body["timestamp"]

    def make(self) -> ErrorFormat:
        """Make the format."""
        chosen: Any = self.settings
        if chosen is None:
            chosen = self.provider.settings_class()
        log = get_log(self.provider.name)
        return self.provider.factory(ProviderContext(settings=chosen, core=Settings(), log=log))

    def text(self, error: FlowManagerError, at: datetime = AT) -> str:
        """A failure as clients get it, on the wire.

        JSON as every language reads it: no NaN, and UTF-8, so no lone surrogates.
        """
        found = self.make()(error, at)
        assert isinstance(found, Mapping)
        assert all(isinstance(key, str) for key in found)
        text = json.dumps(dict(found), allow_nan=False, ensure_ascii=False)
        text.encode()
        return text

    def body(self, error: FlowManagerError, at: datetime = AT) -> dict[str, Any]:
        """A failure as clients read it."""
        found: dict[str, Any] = json.loads(self.text(error, at))
        return found

"""A failure as problem details (RFC 9457), which HTTP clients and gateways know how to read.

What the standard format says is there as well, as extension members: whoever reads that one reads
this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from attrs import field, frozen, validators

from flow_manager_core.errors import FlowManagerError
from flow_manager_core.wire import standard_format

URN = "urn:flow-manager:"
#: An absolute URI (RFC 3986, 4.3, and a fragment), up to where the name of the kind is put.
_BASE = r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*[/#:=?]"

#: What each kind of failure is called, the same every time, and its HTTP status.
KINDS: Mapping[str, tuple[str, int]] = {
    "image_not_found": ("Image not found", 404),
    "container_not_found": ("Container not found", 404),
    "docker_api_error": ("The container engine refused or failed", 502),
    "socket_connection_error": ("The flow is not connected", 502),
    "socket_timeout_error": ("The flow did not answer in time", 504),
    "socket_error": ("The channel to the flow failed", 502),
    "validation_error": ("The request is not valid", 422),
    "system_error": ("The flow manager failed", 500),
}
_RETRYABLE = 503
_LATER = frozenset({500, 502})


def _valid_base(_settings: object, _attribute: object, value: str) -> None:
    told = "type_base must be an absolute URI that ends with one of / # : = ?"
    try:
        validators.matches_re(_BASE)(_settings, _attribute, value)  # type: ignore[arg-type]
    except ValueError:
        raise ValueError(f"{told}, not {value!r}") from None


@frozen(kw_only=True)
class ProblemSettings:
    """How problems are named.

    Args:
        type_base: what comes before the ``error_type`` in ``type``; a page of documentation for
            each, such as ``https://example.org/errors/``, or names that lead nowhere.
    """

    type_base: str = field(default=f"{URN}error:", validator=_valid_base)


class ProblemFormat:
    """An `ErrorFormat`."""

    media_type = "application/problem+json"

    def __init__(self, settings: ProblemSettings) -> None:
        self._base = settings.type_base

    def __call__(self, error: FlowManagerError, at: datetime) -> dict[str, Any]:
        """See `ErrorFormat`."""
        standard = standard_format(error, at)
        title, status = _kind_of(error)
        body = {
            "type": self._base + quote(error.error_type, safe=""),
            "title": title,
            "status": _RETRYABLE if error.retryable and status in _LATER else status,
            "detail": standard["message"],
        }
        request_id = standard["details"].get("request_id")
        if request_id:
            body["instance"] = f"{URN}request:{quote(str(request_id), safe='')}"
        return {**body, **standard}


def _kind_of(error: FlowManagerError) -> tuple[str, int]:
    """The kind's title and status; of a class that is not the contract's, its parent's."""
    for parent in type(error).__mro__:
        found = KINDS.get(getattr(parent, "error_type", ""))
        if found is not None:
            return found
    return KINDS["system_error"]

"""The manager's own labels: what makes a container findable and adoptable by a later life."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

import attrs
from attrs import frozen

from flow_manager_core.models import (
    CheckType,
    ContainerSpec,
    HealthCheck,
    RestartMode,
    RestartPolicy,
)

MANAGED = "flow-manager.managed"
INSTANCE = "flow-manager.instance"
NAME = "flow-manager.name"
TERMS = "flow-manager.terms"
PREFIX = "flow-manager."
#: The fields of `RestartPolicy` that are plain numbers.
_PATIENCE = ("first_delay", "factor", "max_delay", "jitter", "stable_after")


@frozen(kw_only=True)
class Terms:
    """What the manager must remember of a create beyond what the engine keeps.

    Args:
        fingerprint: of the create's payload, to tell a repeat from another request.
        by: whose request id it is; empty for the host application, ``None`` where an earlier
            version did not say.
        birth: names this very create; empty for a container of an earlier version.
        restored: whether it was made of a backup.
    """

    restart: RestartPolicy = RestartPolicy()
    health_check: HealthCheck | None = None
    stop_timeout: float = 10.0
    has_code: bool = False
    request_id: str | None = None
    by: str | None = None
    fingerprint: str = ""
    birth: str = ""
    restored: bool = False


def terms_of(
    spec: ContainerSpec, request_id: str | None, payload: object, by: str | None = None
) -> Terms:
    """The terms of a container that is about to be made; `by`: who asks, ``None``: the host."""
    return Terms(
        restart=spec.restart,
        health_check=spec.health_check,
        stop_timeout=spec.stop_timeout,
        has_code=spec.code_path is not None,
        request_id=request_id,
        by=by or "",
        fingerprint=fingerprint(payload),
        birth=secrets.token_hex(8),
    )


def fingerprint(payload: object) -> str:
    """A digest of a payload: equal for equal JSON, and telling nothing of its secrets."""
    text = json.dumps(payload, sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def labels_for(spec: ContainerSpec, instance: str, terms: Terms) -> dict[str, str]:
    """All labels of a new container: the client's, then the manager's, which win."""
    body = attrs.asdict(terms)
    return {
        **spec.labels,
        MANAGED: "true",
        INSTANCE: instance,
        NAME: spec.name,
        TERMS: json.dumps(body, separators=(",", ":"), sort_keys=True),
    }


def client_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels without the manager's own."""
    return {k: v for k, v in labels.items() if not k.startswith(PREFIX)}


def read_terms(labels: Mapping[str, str]) -> Terms:
    """The terms that a container was made with; the defaults where its label cannot be read."""
    try:
        body = json.loads(labels.get(TERMS, "{}"))
        return _terms(body)
    except (ValueError, TypeError, KeyError, AttributeError):
        return Terms()


def _terms(body: Mapping[str, Any]) -> Terms:
    check = body.get("health_check")
    return Terms(
        restart=_restart(body.get("restart", {})),
        health_check=None if check is None else health_check_from(check),
        stop_timeout=float(body.get("stop_timeout", 10.0)),
        has_code=bool(body.get("has_code")),
        request_id=None if body.get("request_id") is None else str(body["request_id"]),
        by=None if body.get("by") is None else str(body["by"]),
        fingerprint=str(body.get("fingerprint", "")),
        birth=str(body.get("birth", "")),
        restored=bool(body.get("restored")),
    )


def _restart(body: Mapping[str, Any]) -> RestartPolicy:
    """Read what is there: labels of an older manager lack keys, those of a newer one have more."""
    attempts = body.get("max_attempts")
    return RestartPolicy(
        policy=RestartMode(body.get("policy", "never")),
        max_attempts=None if attempts is None else int(attempts),
        **{name: float(body[name]) for name in _PATIENCE if body.get(name) is not None},
    )


def health_check_to(check: HealthCheck) -> dict[str, Any]:
    """A check as JSON."""
    return attrs.asdict(check)


def health_check_from(body: Mapping[str, Any]) -> HealthCheck:
    """Read what `health_check_to` wrote.

    Raises:
        ValueError, TypeError, KeyError: it is no such object.
    """
    command = body.get("command")
    return HealthCheck(
        **{
            **body,
            "check_type": CheckType(body["check_type"]),
            "command": None if command is None else tuple(command),
        }
    )

"""The exception tree: one class an ``error_type``, each with the guide's resolution as its hint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from flow_manager_core.models import Fault


class FlowManagerError(Exception):
    """A failure with a name. Raise one of the classes below, never this one.

    Args:
        message: one sentence for a person; no secret, no traceback.
        retryable: whether the same request may succeed later, unchanged.
        hint: what to do about it; left out: the class's own.
        details: what the failure is about (``container_id``, ``image`` ...), JSON values.
    """

    error_type: ClassVar[str] = "system_error"
    default_hint: ClassVar[str] = ""
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        retryable: bool | None = None,
        hint: str | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retryable: bool = self.default_retryable if retryable is None else retryable
        self.hint: str = self.default_hint if hint is None else hint
        self.details: dict[str, Any] = details

    def about(self, **details: Any) -> FlowManagerError:
        """Add what the raiser did not know; what it did know stays. Returns itself."""
        self.details = {**details, **self.details}
        return self


class ImageNotFound(FlowManagerError):
    """No such image, and it was not or could not be pulled."""

    error_type = "image_not_found"
    default_hint = (
        "Verify image name and tag; pull the image manually with docker pull, or send"
        ' "pull": "missing"; check the registry authentication'
    )


class ContainerNotFound(FlowManagerError):
    """No such container of this manager."""

    error_type = "container_not_found"
    default_hint = "Verify the container ID; check if the container exists with list_containers"


class EngineError(FlowManagerError):
    """The engine refused or failed."""

    error_type = "docker_api_error"
    default_hint = "Check the Docker daemon status; verify permissions"


class VolumeRefused(EngineError):
    """A container would see, or has seen, what no container may see of the host.

    Its source was exchanged after it was checked. No run of it goes on.
    """

    default_hint = (
        "Find out who changed the volume's source on the host; let no container write to the"
        " folder above another one's volume; then start the container"
    )


class EngineUnavailable(EngineError):
    """The engine does not answer, or not in time.

    Args:
        unsent: the engine certainly never got the call; otherwise nothing is known of its outcome.
    """

    default_retryable = True

    def __init__(self, message: str, *, unsent: bool = False, **rest: Any) -> None:
        super().__init__(message, **rest)
        self.unsent = unsent


class ChannelError(FlowManagerError):
    """Any failure of a channel that has no name of its own: a bad or oversized frame."""

    error_type = "socket_error"
    default_hint = "Check that the socket file exists; verify permissions"


class FlowNotConnected(ChannelError):
    """The flow has no channel: not running, crashed, socket file missing."""

    error_type = "socket_connection_error"
    default_hint = "Check the container status and the socket file; restart the container"
    default_retryable = True


class ChannelTimeout(ChannelError):
    """The flow did not answer in time; the channel stays usable."""

    error_type = "socket_timeout_error"
    default_hint = (
        "Check the container's status and resource usage; increase the timeout;"
        " restart the container if it is unresponsive"
    )
    default_retryable = True


class InvalidRequest(FlowManagerError):
    """The request is not well formed. Lists every fault, not only the first.

    Args:
        faults: at least one.
    """

    error_type = "validation_error"
    default_hint = "Check the request format; provide all required fields"

    def __init__(self, faults: Sequence[Fault], **details: Any) -> None:
        told = "; ".join(f"{f.field}: {f.message}" for f in faults)
        errors = [{"field": f.field, "message": f.message} for f in faults]
        super().__init__(f"Invalid request: {told}", errors=errors, **details)
        self.faults: tuple[Fault, ...] = tuple(faults)


class SystemFault(FlowManagerError):
    """Disk, memory, permissions, or an unexpected fault in the manager."""

    error_type = "system_error"
    default_hint = "Check system resources (memory, disk space); restart the service"


class ShuttingDown(SystemFault):
    """The manager is closing and takes no more requests."""

    default_hint = "Send the request again once the service is back"
    default_retryable = True


class ConfigurationError(SystemFault):
    """The manager cannot start as configured.

    Args:
        faults: one line each; `Fault.field` names the setting or plugin.
    """

    default_hint = "Correct the settings and start again"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{f.field}: {f.message}" for f in faults))
        self.faults: tuple[Fault, ...] = tuple(faults)


#: All that ``error_type`` may be.
ERROR_TYPES = frozenset(
    kind.error_type
    for kind in tuple(globals().values())
    if isinstance(kind, type) and issubclass(kind, FlowManagerError)
)

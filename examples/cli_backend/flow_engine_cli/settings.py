"""What an operator may set: section ``[engine_cli]``, or ``FLOW_MANAGER_ENGINE_CLI_<NAME>``."""

from __future__ import annotations

from attrs import frozen


@frozen
class CliSettings:
    """The settings of the backend.

    Args:
        program: the engine's command line, with the options that come first.
        timeout: seconds that a command may take.
    """

    program: tuple[str, ...] = ("docker",)
    timeout: float = 30.0

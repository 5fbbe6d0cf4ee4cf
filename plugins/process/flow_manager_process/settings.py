"""The provider's own settings, section ``[process]``."""

from __future__ import annotations

from attrs import field, frozen, validators

#: What a program commonly needs of its surroundings, and nothing of the manager's own.
INHERITED = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
)


@frozen(kw_only=True)
class ProcessSettings:
    """What an operator may choose.

    Args:
        inherit_environment: names of the manager's variables that flows get; no others pass.
        output_limit: bytes of output kept for each container; the oldest half goes first.
        kill_timeout: seconds that a killed program's keeper may take before it is killed itself.

    Raises:
        ValueError: a number is not more than 0.
    """

    inherit_environment: tuple[str, ...] = INHERITED
    output_limit: int = field(default=10 * 1024 * 1024, validator=validators.gt(0))
    kill_timeout: float = field(default=2.0, validator=validators.gt(0))

"""How much of durable messages is kept, from the settings."""

from __future__ import annotations

from attrs import frozen

from flow_manager_core.errors import SystemFault
from flow_manager_core.settings import Settings


@frozen(kw_only=True)
class Limits:
    """Bounds of what waits, for one container and in all, and of what is remembered."""

    frame: int
    messages: int
    size: int
    all_messages: int
    all_size: int
    settled: int

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        """What the settings say."""
        return cls(
            frame=settings.frame_limit,
            messages=settings.durable_messages,
            size=settings.durable_bytes,
            all_messages=settings.durable_messages_total,
            all_size=settings.durable_bytes_total,
            settled=settings.settled_messages,
        )

    def check(self, messages: int, size: int, all_messages: int, all_size: int) -> None:
        """Refuse what would be too much, numbers with the new message.

        Raises:
            SystemFault: retryable; it names the setting.
        """
        bounds = (
            ("durable_messages", messages, self.messages),
            ("durable_bytes", size, self.size),
            ("durable_messages_total", all_messages, self.all_messages),
            ("durable_bytes_total", all_size, self.all_size),
        )
        for setting, found, bound in bounds:
            if found > bound:
                raise SystemFault(
                    f"Too many durable messages wait: {setting} is {bound}",
                    retryable=True,
                    hint="Send again once flows have acknowledged some of those that wait",
                    setting=setting,
                )

"""Where the broker is, and what the frontend's places there are called."""

from __future__ import annotations

from attrs import frozen
from yarl import URL

from flow_manager_rabbitmq.settings import RabbitMQSettings

#: By scheme, from the AMQP URI specification.
PORTS = {"amqp": 5672, "amqps": 5671}


@frozen
class Places:
    """One broker, and our queue and exchange on it.

    Args:
        url: with the password in it; `shown` is for people.
    """

    url: URL
    queue: str
    exchange: str

    @classmethod
    def of(cls, settings: RabbitMQSettings, instance: str) -> Places:
        """Name them; the instance keeps managers that share a broker apart."""
        url = URL(settings.url)
        if not url.port:
            url = url.with_port(PORTS[url.scheme])
        if "heartbeat" not in url.query:
            url = url.update_query(heartbeat=str(settings.heartbeat))
        return cls(
            url=url,
            queue=settings.commands_queue or f"flow-manager.{instance}.commands",
            exchange=settings.events_exchange or f"flow-manager.{instance}.events",
        )

    @property
    def shown(self) -> str:
        """The broker's URL without user, password and parameters."""
        return str(self.url.with_user(None).with_query(None))

    def told(self) -> str:
        """Where clients find us, for people to read."""
        return f"{self.shown} (queue {self.queue})"

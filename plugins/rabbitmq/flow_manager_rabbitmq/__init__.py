"""RabbitMQ frontend of Flow Manager: commands from a queue, events to a topic exchange."""

from __future__ import annotations

from flow_manager_rabbitmq.settings import RabbitMQSettings

__all__ = ["RabbitMQSettings"]

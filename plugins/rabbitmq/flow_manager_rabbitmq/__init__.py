"""RabbitMQ frontend of Flow Manager: commands from a queue, events to a topic exchange."""

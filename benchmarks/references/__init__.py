"""What the service is measured beside: the same work with as little as possible round it."""

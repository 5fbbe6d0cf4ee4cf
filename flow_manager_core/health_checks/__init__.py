"""Health checks: asking containers how they are, and what follows from their answers."""

"""A third-party plugin of Flow Manager: a backend that drives an engine's command line."""

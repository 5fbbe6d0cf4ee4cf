"""The command line of Flow Manager."""

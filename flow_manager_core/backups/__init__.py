"""Backups of containers: how an archive is laid out, written, checked, and where it stands."""

"""The version of the core."""

#: As on the package index; all distributions of the project have the same.
__version__ = "0.1.0"

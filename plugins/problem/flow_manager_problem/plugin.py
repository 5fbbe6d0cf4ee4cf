"""Registers the provider."""

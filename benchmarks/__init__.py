"""Measurements of the whole service, on a real engine, over loopback alone."""

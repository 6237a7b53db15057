"""Holds the pipeline behind `optimize`, `fold` and `inspect`."""

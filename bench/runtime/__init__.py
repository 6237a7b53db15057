"""The graphs that runtimes make of originals and of results of `optimize`: nodes, bytes and latency."""

from bench.runtime.command import main

__all__ = ["main"]

"""Runs the command line as `python -m onnxnorm`."""

from __future__ import annotations

from onnxnorm.cli import entry

if __name__ == "__main__":
    entry()

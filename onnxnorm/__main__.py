"""`python -m onnxnorm` is the command line."""

from __future__ import annotations

from onnxnorm.cli import entry

if __name__ == "__main__":
    entry()

"""`python -m onnxnorm` is the command line."""

from __future__ import annotations

import sys

from onnxnorm._cli import main

if __name__ == "__main__":
    sys.exit(main())

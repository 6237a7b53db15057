"""Run one measurement: `python -m bench NAME [ARGUMENT ...]`; `python -m bench --list` names them all."""

from __future__ import annotations

import sys
from pathlib import Path

from testing.commands import run_command

if __name__ == "__main__":
    sys.exit(run_command(Path(__file__).resolve().parent))

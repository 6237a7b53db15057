#!/usr/bin/env python3
"""Sets up and runs what a newcomer needs, from a bare clone and the standard library alone.

    python3 dev.py demo       the whole way once, on every model of models/
    python3 dev.py test       lint, types and tests
    python3 dev.py install    what both need, and no more

All use the virtual environment .venv beside this file and make it where it is missing; a change of what the project
installs makes it anew. Arguments that follow are passed on to the demo, or to pytest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "onnxnorm-installed"


def run(*command: str | Path) -> None:
    result = subprocess.run([str(part) for part in command], cwd=ROOT)
    if result.returncode:
        sys.exit(result.returncode)


def wanted() -> str:
    """A fingerprint of everything that the installation is made from."""
    digest = hashlib.sha256(sys.version.encode())
    native = sorted(path for path in (ROOT / "custom_ops").rglob("*") if path.is_file())
    for path in [ROOT / "pyproject.toml", ROOT / "constraints.txt", *native]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def make_venv() -> None:
    shutil.rmtree(VENV, ignore_errors=True)
    has_ensurepip = Path(sysconfig.get_path("stdlib"), "ensurepip").is_dir()
    if has_ensurepip:
        run(sys.executable, "-m", "venv", VENV)
        pip: list[str | Path] = [PYTHON, "-m", "pip"]
    elif subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        run(sys.executable, "-m", "venv", "--without-pip", VENV)
        pip = [sys.executable, "-m", "pip", "--python", PYTHON]
    else:
        sys.exit("error: this Python has neither ensurepip nor pip; install its venv package (on Debian: python3-venv)")
    print(f"installing into {VENV} ...", flush=True)
    # Of ten thousand modules a fifth is imported; Python compiles each then.
    options = ["--quiet", "--no-compile", "--constraint", "constraints.txt"]
    run(*pip, "install", *options, "--editable", ".[torch,dev]")


def main() -> None:
    if sys.version_info < (3, 10):  # noqa: UP036 - an old Python is told so
        sys.exit(f"error: onnxnorm needs Python 3.10 or newer, this is {sys.version.split()[0]}")
    if len(sys.argv) < 2 or sys.argv[1] not in ("demo", "test", "install"):
        sys.exit(__doc__)
    command, *rest = sys.argv[1:]
    if not STAMP.exists() or STAMP.read_text() != wanted():
        make_venv()
        STAMP.write_text(wanted())
    if command == "demo":
        run(PYTHON, "-m", "models", *rest)
    elif command == "test":
        run(PYTHON, "-m", "ruff", "check", ".")
        run(PYTHON, "-m", "ruff", "format", "--check", ".")
        run(PYTHON, "-m", "mypy")
        run(PYTHON.with_name("lint-imports"))
        run(PYTHON, "-m", "pytest", "--numprocesses", "auto", "--dist", "worksteal", *rest)


if __name__ == "__main__":
    main()

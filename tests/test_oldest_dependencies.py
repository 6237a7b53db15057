"""The floors are true: with the oldest version of each dependency the trial of an installed package passes.

The newest versions are what all other tests run with.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from onnxnorm.runtime.library import find_library

ROOT = Path(__file__).resolve().parents[1]
OLDEST = ROOT / "release" / "oldest.txt"


def environment() -> Path:
    """Return the Python of an environment with the oldest versions, made once; skip where they cannot be installed."""
    digest = hashlib.sha256(OLDEST.read_bytes()).hexdigest()[:12]
    home = ROOT / ".venv-runtimes" / f"oldest-{digest}-py{sys.version_info.major}.{sys.version_info.minor}"
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not (home / "installed").exists():
        venv.create(home, with_pip=False, clear=True)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile"]
        done = subprocess.run([*pip, "-r", str(OLDEST)], capture_output=True, text=True, timeout=600)
        if done.returncode:
            pytest.skip(f"the oldest dependencies cannot be installed here: {done.stderr.strip()[-200:]}")
        (home / "installed").touch()
    return python


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the oldest versions have no files for this Python")
def test_the_package_works_with_the_oldest_dependencies(tmp_path: Path) -> None:
    python = environment()
    shutil.copytree(ROOT / "onnxnorm", tmp_path / "onnxnorm", ignore=shutil.ignore_patterns("__pycache__"))
    script = shutil.copy(ROOT / "release" / "smoke.py", tmp_path)
    kept = {name: value for name, value in os.environ.items() if name not in ("ONNXNORM_LIBRARY", "PYTHONHOME")}
    library = find_library()
    here = {**kept, "PYTHONPATH": str(tmp_path), **({"ONNXNORM_LIBRARY": str(library)} if library else {})}
    command = [str(python), script, *([] if library else ["--without-library"])]
    done = subprocess.run(command, cwd=tmp_path, env=here, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]

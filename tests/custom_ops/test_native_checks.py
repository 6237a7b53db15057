"""The short form of custom_ops/check.py: the baseline kernels against the formula, under sanitizers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).resolve().parent.parent.parent / "custom_ops" / "check.py"


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs CMake")
def test_kernels_run_clean_under_the_address_and_undefined_behaviour_sanitizers() -> None:
    done = subprocess.run([sys.executable, CHECK, "address", "--quick"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert ", 0 failed" in done.stdout

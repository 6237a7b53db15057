"""The native library from other programs: one entry, and examples in C that build and run against onnxruntime alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from onnxnorm import reference
from onnxnorm.runtime.library import find_library
from tests.passes.test_plain_targets import custom

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "custom_ops" / "examples"
pytestmark = [
    pytest.mark.skipif(find_library() is None, reason="needs the native library"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks into an ELF file"),
]


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs binutils")
def test_the_library_exports_its_entry_alone() -> None:
    listed = subprocess.run(
        ["nm", "--dynamic", "--defined-only", "--format=posix", str(find_library())], capture_output=True, text=True
    )
    assert [line.split()[0].partition("@")[0] for line in listed.stdout.splitlines()] == ["RegisterCustomOps"]


def runtime_in(folder: Path) -> Path:
    """Return a link to the installed onnxruntime's library, under the name that programs look for."""
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    link = folder / "libonnxruntime.so.1"
    link.symlink_to(library)
    return link


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("library", ["kernels", "bodies"])
def test_a_program_in_c_runs_the_model(tmp_path: Path, library: str) -> None:
    onnx.save(custom("IntraChannelLRN", (1, 2, 4, 4), [3, 3], alpha=0.5), tmp_path / "model.onnx")
    program = tmp_path / "run"
    runtime = runtime_in(tmp_path)
    command = ["cc", "-Wall", "-Werror", str(EXAMPLES / "run.c"), f"-I{ROOT / 'custom_ops' / 'include'}", str(runtime)]
    built = subprocess.run(
        [*command, f"-Wl,-rpath,{runtime.parent}", "-o", str(program)], capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    given = str(find_library()) if library == "kernels" else "-"
    done = subprocess.run([program, tmp_path / "model.onnx", given, "X", "Y"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    x = ((np.arange(32) - 11) / 4).astype(np.float32).reshape(1, 2, 4, 4)
    np.testing.assert_allclose(
        np.array(done.stdout.split(), np.float64).reshape(x.shape),
        reference.intra_channel_lrn(x, [3, 3], 0.5),
        rtol=12 * 2.0**-23,
    )


def test_the_program_is_short() -> None:
    assert len((EXAMPLES / "run.c").read_text(encoding="utf-8").splitlines()) <= 60

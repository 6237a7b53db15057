"""The native library from other programs: one entry, and examples in C and Rust that run with onnxruntime alone."""

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


def compiled(language: str, folder: Path) -> Path:
    """Return an example, compiled as its first lines say."""
    program, runtime = folder / "run", runtime_in(folder)
    path = f"-Wl,-rpath,{runtime.parent}"
    if language == "c":
        include = f"-I{ROOT / 'custom_ops' / 'include'}"
        command = ["cc", "-Wall", "-Werror", str(EXAMPLES / "run.c"), include, str(runtime), path, "-o", str(program)]
    else:
        links = [f"-Clink-arg={runtime}", f"-Clink-arg={path}"]
        command = ["rustc", "--edition", "2021", str(EXAMPLES / "run.rs"), *links, "-o", str(program)]
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return program


@pytest.mark.parametrize("language", ["c", "rust"])
def test_a_program_runs_the_model_with_kernels_and_bodies(tmp_path: Path, language: str) -> None:
    onnx.save(custom("IntraChannelLRN", (1, 2, 4, 4), [3, 3], alpha=0.5), tmp_path / "model.onnx")
    program = compiled(language, tmp_path)
    x = ((np.arange(32) - 11) / 4).astype(np.float32).reshape(1, 2, 4, 4)
    wanted = reference.intra_channel_lrn(x, [3, 3], 0.5)
    for library in (str(find_library()), "-"):
        done = subprocess.run([program, tmp_path / "model.onnx", library, "X", "Y"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        y = np.array(done.stdout.split(), np.float64).reshape(x.shape)
        np.testing.assert_allclose(y, wanted, rtol=12 * 2.0**-23)


@pytest.mark.parametrize("name", ["run.c", "run.rs"])
def test_the_programs_are_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) <= 70 - 10 * name.endswith(".c")


@pytest.mark.skipif(shutil.which("cmake") is None or shutil.which("make") is None, reason="needs CMake and make")
@pytest.mark.parametrize(("asked", "chosen", "other"), [("x86_64", "avx2", "neon"), ("arm64", "neon", "avx2")])
def test_a_build_for_a_mac_is_for_the_processor_that_is_asked_for(
    tmp_path: Path, asked: str, chosen: str, other: str
) -> None:
    # The Macs that build both kinds say arm64 of themselves. Nothing is compiled here.
    mac = {"SYSTEM_NAME": "Darwin", "SYSTEM_PROCESSOR": "arm64", "OSX_ARCHITECTURES": asked, "CXX_COMPILER_WORKS": "1"}
    options = [f"-DCMAKE_{name}={value}" for name, value in mac.items()]
    command = ["cmake", "-S", str(ROOT / "custom_ops"), "-B", str(tmp_path), "-G", "Unix Makefiles", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = (tmp_path / "CMakeFiles" / "kernels.dir" / "build.make").read_text(encoding="utf-8")
    assert f"targets/{chosen}.cpp" in made and f"targets/{other}.cpp" not in made
    assert "/libonnxnorm_custom_ops.dylib" in (tmp_path / "onnxnorm.pc").read_text(encoding="utf-8")

"""Installing the project: a compiler builds the library; without one the install succeeds and the tool says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HIDDEN = ("gcc", "g++", "cc", "c++", "clang", "clang++")

SESSIONS = """
import warnings
import numpy as np, onnx
import onnxnorm
from onnxnorm.ops.schema import DOMAIN
values = [onnx.helper.make_tensor_value_info(name, 1, [1, 2, 3, 4]) for name in "XY"]
node = onnx.helper.make_node("IntraChannelLRN", ["X"], ["Y"], domain=DOMAIN, kernel_shape=[3, 3])
graph = onnx.helper.make_graph([node], "g", values[:1], values[1:])
model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
warnings.simplefilter("always")
with warnings.catch_warnings(record=True) as said:
    for _ in range(3):
        y = onnxnorm.session(model).run(None, {"X": np.ones((1, 2, 3, 4), np.float32)})[0]
assert abs(y[0, 0, 1, 1] - (1 + 1e-4) ** -0.75) < 1e-6, y
print(len(said), onnxnorm.__file__)
"""


def environment(tmp_path: Path, *, compiler: bool) -> dict[str, str]:
    """The running environment; without a compiler, a PATH of links to all else, and CC and CXX that lead nowhere."""
    kept = {name: value for name, value in os.environ.items() if name not in ("ONNXNORM_LIBRARY", "PYTHONPATH")}
    if compiler:
        return kept
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in map(Path, os.environ["PATH"].split(os.pathsep)):
        for tool in folder.iterdir() if folder.is_dir() else ():
            compiles = tool.name in HIDDEN or any(f"-{name}" in tool.name for name in HIDDEN)
            if not compiles and not (tools / tool.name).exists():
                (tools / tool.name).symlink_to(tool)
    return {**kept, "PATH": str(tools), "CC": "/nowhere/cc", "CXX": "/nowhere/c++"}


BUILD = """
import sys
from scikit_build_core import build
settings = {"cmake.build-type": "Debug", "cmake.define.CMAKE_CXX_FLAGS_DEBUG": "-O0"}
settings |= {"cmake.define.ONNXNORM_BASELINE_ONLY": "ON", "cmake.define.ONNXNORM_FEW_TYPES": "ON"}
print(getattr(build, sys.argv[1])(sys.argv[2], settings))
"""


def built(tmp_path: Path, *, compiler: bool, editable: bool) -> Path:
    """Builds a wheel of a copy of the project, as pip does; of the kernels a few that every processor runs."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "PACKAGE.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("onnxnorm", "custom_ops"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    hook = "build_editable" if editable else "build_wheel"
    command = [sys.executable, "-c", BUILD, hook, str(tmp_path)]
    here = environment(tmp_path, compiler=compiler)
    done = subprocess.run(command, cwd=source, env=here, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path / done.stdout.split()[-1]


def installed(wheel: Path, tmp_path: Path, *, pip: bool) -> Path:
    """Installs a wheel into a new environment that sees this one's packages, or unpacks it; returns its Python."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    if pip:
        command = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
        ]
        done = subprocess.run([*command, str(wheel)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    else:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def run(python: Path, tmp_path: Path) -> tuple[int, str]:
    done = subprocess.run(
        [python, "-c", SESSIONS], env=environment(tmp_path, compiler=True), cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said, origin = done.stdout.split(maxsplit=1)
    return int(said), origin.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="hides the compiler by links")
@pytest.mark.parametrize("editable", [False, True], ids=["install", "editable"])
def test_without_a_compiler_it_installs_and_says_once_what_it_runs_on(tmp_path: Path, editable: bool) -> None:
    python = installed(built(tmp_path, compiler=False, editable=editable), tmp_path, pip=False)
    said, origin = run(python, tmp_path)
    assert Path(origin).is_relative_to(tmp_path), "the environment under test is not the one that ran"
    assert said == 1
    assert not list(tmp_path.rglob("libonnxnorm_custom_ops.*"))


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_with_a_compiler_the_library_is_built_and_nothing_is_said(tmp_path: Path) -> None:
    python = installed(built(tmp_path, compiler=True, editable=False), tmp_path, pip=True)
    said, origin = run(python, tmp_path)
    assert Path(origin).is_relative_to(tmp_path), "the environment under test is not the one that ran"
    assert said == 0
    assert list(Path(origin).parent.glob("libonnxnorm_custom_ops.*"))
    package = Path(origin).parent
    (wheel,) = package.parent.glob("onnxnorm-*.dist-info/WHEEL")
    # No part of it is an extension of one version of Python.
    assert "Tag: py3-none-" in wheel.read_text() and "Root-Is-Purelib: false" in wheel.read_text()
    smoke(python, tmp_path)
    if shutil.which("cmake") is not None:
        assert found_by_cmake(package, tmp_path) == next(package.glob("libonnxnorm_custom_ops.*"))
    if shutil.which("pkg-config") is not None:
        asked = ["pkg-config", "--variable=library", "onnxnorm"]
        folder = {**os.environ, "PKG_CONFIG_PATH": str(package / "pkgconfig")}
        done = subprocess.run(asked, env=folder, capture_output=True, text=True, check=True)
        assert Path(done.stdout.strip()).samefile(next(package.glob("libonnxnorm_custom_ops.*")))


def smoke(python: Path, tmp_path: Path) -> None:
    """Run the tests of the release from a folder without the source."""
    script = shutil.copy(ROOT / "release" / "smoke.py", tmp_path)
    done = subprocess.run(
        [python, "-I", script], cwd=tmp_path, env=environment(tmp_path, compiler=True), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def found_by_cmake(package: Path, tmp_path: Path) -> Path:
    """Return the library that `find_package(onnxnorm)` finds."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(user NONE)\nfind_package(onnxnorm 0.1 REQUIRED)\n"
        'message(STATUS "found:${onnxnorm_LIBRARY}")\n'
        'if(NOT EXISTS "${onnxnorm_INCLUDE_DIR}/onnxnorm.h")\n  message(FATAL_ERROR "no header")\nendif()\n'
    )
    command = ["cmake", "-S", str(project), "-B", str(project / "build"), f"-Donnxnorm_DIR={package / 'cmake'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "found:" in line]
    return Path(line.partition("found:")[2]).resolve()

"""Columns of the matrix: each a runtime in a process of its own, with what has to be installed for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["COLUMNS", "Column", "install", "run_column"]

SCRIPTS = Path(__file__).parent / "runners"


@dataclass(frozen=True)
class Column:
    """A runtime.

    Attributes:
        name: as the table has it.
        script: of `runners/`, which runs all files.
        arguments: of the script.
        packages: what pip installs for it; nothing where it is here already.
        node_packages: what npm installs for it.
        needs: a module that has to be there where nothing is installed.
        note: what the docs say of it.
    """

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    node_packages: tuple[str, ...] = ()
    needs: str = ""
    note: str = ""


_NUMPY_1 = "numpy==1.26.4"

COLUMNS: tuple[Column, ...] = (
    Column("onnxruntime", "ort.py", ("off", "all"), needs="onnxruntime"),
    Column("onnxruntime, kernels", "ort.py", ("off", "all", "library"), needs="onnxruntime"),
    Column("onnxruntime, ORT format", "ort.py", ("ort",), needs="onnxruntime"),
    *(
        Column(f"onnxruntime {version}", "ort.py", ("off", "all"), (f"onnxruntime=={version}", *more))
        for version, *more in (
            ("1.15.1", _NUMPY_1),
            ("1.16.3", _NUMPY_1),
            ("1.18.1", _NUMPY_1),
            ("1.20.1",),
            ("1.22.1",),
            ("1.24.4",),
        )
    ),
    Column("onnxruntime-node", "node.js", ("onnxruntime-node",), node_packages=("onnxruntime-node",)),
    Column("onnxruntime-web", "node.js", ("onnxruntime-web",), node_packages=("onnxruntime-web",)),
    Column("OpenVINO", "openvino_cpu.py", needs="openvino"),
    Column("OpenCV 4", "opencv.py", (), ("opencv-python-headless==4.14.0.94",)),
    Column("OpenCV 5", "opencv.py", (), ("opencv-python-headless==5.0.0.93",)),
    Column("tract", "tract_cpu.py", (), ("tract",)),
    Column(
        "reference evaluator", "reference.py", needs="onnx", note="walks LRN along the wrong axis (onnx issue 7805)"
    ),
    Column("checker", "checker.py", needs="onnx", note="the full check of the package onnx"),
    Column("MNN", "mnn.py", (), ("MNN==3.6.1",)),
)


def install(column: Column, folder: Path) -> Path | None:
    """Install what the column needs into a folder of its own, once; return it, or None where nothing is needed.

    Raises:
        RuntimeError: it cannot be installed here.
    """
    if column.node_packages:
        place = folder / "npm"
        if not all((place / "node_modules" / name).is_dir() for name in column.node_packages):
            if shutil.which("npm") is None:
                raise RuntimeError("there is no npm here")
            place.mkdir(parents=True, exist_ok=True)
            _call(["npm", "install", "--silent", "--ignore-scripts", *column.node_packages], place)
        return place
    if not column.packages:
        __import__(column.needs)
        return None
    place = folder / "-".join(column.packages).replace("=", "").replace(" ", "")
    done = place / "installed"
    if not done.exists():
        _call([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(place), *column.packages])
        done.touch()
    return place


def _call(command: Sequence[str], folder: Path | None = None) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1])


def run_column(column: Column, names: Sequence[str], folder: Path, place: Path | None, seconds: float) -> None:
    """Run the files `<name>.onnx` of a folder; each leaves `<name>.out.json` there, with a reason where it has none.

    A file that ends the process is left out, and the others go on.
    """
    waiting = list(names)
    for name in names:
        (folder / f"{name}.out.json").unlink(missing_ok=True)
    while waiting:
        (folder / "todo.json").write_text(json.dumps(waiting), encoding="utf-8")
        if column.script.endswith(".js"):
            command = ["node", str(SCRIPTS / column.script), str(folder), str(place), *column.arguments]
        else:
            command = [
                sys.executable,
                str(SCRIPTS / column.script),
                str(folder),
                "" if place is None else str(place),
                *column.arguments,
            ]
        ended = "ends the process"
        try:
            subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            ended = f"does not end within {seconds:.0f} seconds"
        left = [name for name in waiting if not (folder / f"{name}.out.json").exists()]
        if not left:
            return
        (folder / f"{left[0]}.out.json").write_text(json.dumps({"reason": ended}), encoding="utf-8")
        waiting = left[1:]

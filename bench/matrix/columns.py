"""Columns of the matrix: each a runtime in a process of its own, with what has to be installed for it."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
        needs: a module that has to be there besides.
        programs: what has to be found on the path, with what installs it.
        reads_functions: whether it runs operators of other domains by the functions that a file carries.
    """

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    node_packages: tuple[str, ...] = ()
    needs: str = ""
    programs: Mapping[str, str] = field(default_factory=dict)
    reads_functions: bool = True

    def is_here(self) -> bool:
        """Whether it runs in what is installed already."""
        return not self.packages and not self.node_packages


_NODE = {"node": "Node.js", "npm": "Node.js"}
_BROWSER = {**_NODE, "chromium": "Debian's chromium", "chromedriver": "Debian's chromium-driver"}
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
    Column("onnxruntime-node", "node.js", ("onnxruntime-node",), (), ("onnxruntime-node",), programs=_NODE),
    Column("onnxruntime-web, Node.js", "node.js", ("onnxruntime-web",), (), ("onnxruntime-web",), programs=_NODE),
    Column("onnxruntime-web, Chromium", "browser.py", (), (), ("onnxruntime-web",), "selenium", _BROWSER),
    Column("OpenVINO", "openvino_cpu.py", needs="openvino", reads_functions=False),
    Column("OpenCV 4", "opencv.py", (), ("opencv-python-headless==4.14.0.94",), reads_functions=False),
    Column("OpenCV 5", "opencv.py", (), ("opencv-python-headless==5.0.0.93",), reads_functions=False),
    Column("tract", "tract_cpu.py", (), ("tract",), reads_functions=False),
    Column("MNN", "mnn.py", (), ("MNN==3.6.1",), reads_functions=False),
    Column("ncnn, by pnnx", "ncnn_cpu.py", (), ("ncnn==1.0.20261020", "pnnx==20261020"), reads_functions=False),
    Column("onnx2torch", "onnx2torch_cpu.py", (), ("onnx2torch==1.5.15",), needs="torch", reads_functions=False),
    Column("reference evaluator", "reference.py", needs="onnx"),
    Column("checker", "checker.py", needs="onnx"),
)


def install(column: Column, folder: Path) -> Path | None:
    """Install what the column needs into a folder of its own, once; return it, or None where nothing is needed.

    Raises:
        RuntimeError: it cannot be installed here.
    """
    missing = sorted({by for program, by in column.programs.items() if shutil.which(program) is None})
    if column.needs and importlib.util.find_spec(column.needs) is None:
        missing.append(f"the package {column.needs}")
    if missing:
        raise RuntimeError(f"needs {', '.join(missing)}")
    if column.node_packages:
        place = folder / "npm"
        if not all((place / "node_modules" / name).is_dir() for name in column.node_packages):
            place.mkdir(parents=True, exist_ok=True)
            _call(["npm", "install", "--silent", "--ignore-scripts", *column.node_packages], place)
        return place
    if not column.packages:
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
            subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            ended = f"does not end within {seconds:.0f} seconds"
        left = [name for name in waiting if not (folder / f"{name}.out.json").exists()]
        if not left:
            return
        (folder / f"{left[0]}.out.json").write_text(json.dumps({"reason": ended}), encoding="utf-8")
        waiting = left[1:]

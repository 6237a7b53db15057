"""What this project writes is right in every version of onnxruntime that it allows, not in the one of the tests alone.

Each version is installed once, without what it depends on, into a folder of its own (`.venv-runtimes`), and runs all
models in one process; expected values are those of `onnxnorm.reference`.
"""

from __future__ import annotations

import functools
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

from onnxnorm import optimize, reference
from onnxnorm.ops.bodies import portable_body
from onnxnorm.ops.schema import DOMAIN, VERSION

VERSIONS = ["1.16.3", "1.20.1", "1.22.1", "1.24.4", "newest"]
# What is compiled for NumPy 1 brings it along.
NUMPY_1 = ("1.16.3",)
NEWEST_OPSET = {"1.16.3": 19}
FOLDER = Path(__file__).parents[2] / ".venv-runtimes"
OPSETS = (18, 19, 21)
ALPHA, BETA, BIAS = 2.0, 0.75, 1.5

# Runs <n>.onnx on <n>.npy, with optimizations off and on, and writes what comes out, or prints what is refused.
RUN_ALL = """
import pathlib, sys
import numpy as np
import onnxruntime as ort
if sys.argv[2] != "newest":
    assert ort.__version__ == sys.argv[2], ort.__version__
folder = pathlib.Path(sys.argv[1])
levels = {"off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL, "on": ort.GraphOptimizationLevel.ORT_ENABLE_ALL}
for path in sorted(folder.glob("*.onnx")):
    for name, level in levels.items():
        options = ort.SessionOptions()
        options.graph_optimization_level, options.log_severity_level = level, 4
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        np.save(folder / f"{path.stem}-{name}-out.npy", session.run(None, {"X": np.load(path.with_suffix(".npy"))})[0])
"""


def _installed(version: str) -> Path | None:
    """The folder of that version; None for the one that the tests themselves run in."""
    if version == "newest":
        return None
    folder = FOLDER / f"onnxruntime-{version}-py{sys.version_info.major}.{sys.version_info.minor}"
    if not (folder / "onnxruntime" / "__init__.py").exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
        needed = [f"onnxruntime=={version}", *(["numpy==1.26.4"] if version in NUMPY_1 else [])]
        done = subprocess.run([*command, *needed], capture_output=True, text=True, timeout=300)
        if done.returncode:
            pytest.skip(f"onnxruntime {version} cannot be installed here: {done.stderr.strip()[-200:]}")
    return folder


def _model(op_type: str, domain: str, shape: tuple[int, ...], opset: int, element: int, **attributes: Any) -> Any:
    node = helper.make_node(
        op_type, ["X"], ["Y"], name="lrn", domain=domain, alpha=ALPHA, beta=BETA, bias=BIAS, **attributes
    )
    values = [helper.make_tensor_value_info(name, element, shape) for name in "XY"]
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, VERSION)]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    functions = [portable_body(op_type, opset=opset)] if domain else []
    return helper.make_model(graph, opset_imports=imports[: 1 + bool(domain)], functions=functions, ir_version=9)


@functools.cache
def _cases() -> list[tuple[Any, npt.NDArray[Any], npt.NDArray[Any]]]:
    """Models, inputs and the outputs that the formulas give."""
    rng = np.random.default_rng(0)
    cases = []
    windows: list[tuple[int, ...]] = [(n,) for n in range(1, 6)]
    windows += itertools.product(range(1, 6), repeat=2)
    windows += itertools.product((1, 2, 3, 5), repeat=3)
    for opset, window in itertools.product(OPSETS, windows):
        halves = (np.float32, np.float16) if len(window) == 2 else (np.float32,)
        for dtype in halves:
            x = rng.standard_normal((2, 3, *(7, 6, 5)[: len(window)])).astype(dtype)
            element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            model = _model("IntraChannelLRN", DOMAIN, x.shape, opset, element, kernel_shape=window)
            wanted = reference.intra_channel_lrn(x, window, ALPHA, BETA, BIAS)
            cases.append((model, x, wanted))
            if len(window) == 2:
                plain = optimize(model, target="portable", verify=False).model
                assert isinstance(plain, onnx.ModelProto) and not plain.functions
                cases.append((plain, x, wanted))
    for opset, size, rank in itertools.product(OPSETS, range(1, 6), (3, 4)):
        x = rng.standard_normal((2, 7, 4, 5)[:rank]).astype(np.float32)
        wanted = reference.inter_channel_lrn(x, size, ALPHA, BETA, BIAS)
        plain = _model("LRN", "", x.shape, opset, TensorProto.FLOAT, size=size)
        written = optimize(plain, target="portable", verify=False).model
        assert isinstance(written, onnx.ModelProto) and all(node.op_type != "LRN" for node in written.graph.node)
        cases.append((written, x, wanted))
        cases.append((_model("InterChannelLRN", DOMAIN, x.shape, opset, TensorProto.FLOAT, size=size), x, wanted))
    return cases


@pytest.mark.parametrize("version", VERSIONS)
def test_written_out_forms_and_bodies_are_the_formula_in(version: str, tmp_path: Path) -> None:
    folder = _installed(version)
    cases = [case for case in _cases() if case[0].opset_import[0].version <= NEWEST_OPSET.get(version, 99)]
    for i, (model, x, _) in enumerate(cases):
        onnx.save(model, tmp_path / f"{i}.onnx")
        np.save(tmp_path / f"{i}.npy", x)
    # In front of all other folders, and not by PYTHONPATH, which a virtual environment may be told to ignore.
    script = ("" if folder is None else f"import sys; sys.path.insert(0, {str(folder)!r})\n") + RUN_ALL
    command = [sys.executable, "-c", script, str(tmp_path), version]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    for i, (model, x, wanted) in enumerate(cases):
        rounding = 2.0**-9 if x.dtype == np.float16 else 2.0**-18
        for level in ("off", "on"):
            got = np.load(tmp_path / f"{i}-{level}-out.npy")
            np.testing.assert_allclose(
                got.astype(np.float64), wanted, rtol=rounding, atol=1e-7, err_msg=f"{level}: {model.graph.node}"
            )

"""What this project writes is right in every version of onnxruntime that it allows, not in the one of the tests alone.

Each version is installed once, without what it depends on, into a folder of its own (`.venv-runtimes`), and runs all
models in one process; expected values are those of `onnxnorm.reference`.
"""

from __future__ import annotations

import functools
import itertools
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper

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

# Runs <name>.onnx on <name>.npz, with optimizations off and on, and writes what comes out, or prints what is refused.
RUN_ALL = """
import pathlib, sys
import numpy as np
import onnxruntime as ort
if sys.argv[2] != "newest":
    assert ort.__version__ == sys.argv[2], ort.__version__
folder = pathlib.Path(sys.argv[1])
levels = {"off": ort.GraphOptimizationLevel.ORT_DISABLE_ALL, "on": ort.GraphOptimizationLevel.ORT_ENABLE_ALL}
for path in sorted(folder.glob("*.onnx")):
    feeds = dict(np.load(path.with_suffix(".npz")))
    for name, level in levels.items():
        options = ort.SessionOptions()
        options.graph_optimization_level, options.log_severity_level = level, 4
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        np.savez(folder / f"{path.stem}-{name}-out.npz", **dict(zip(names, session.run(names, feeds))))
"""


@dataclass(frozen=True)
class Case:
    """A node, an input, the output that the formula gives, and the weights that the node reads by their names."""

    node: onnx.NodeProto
    x: npt.NDArray[Any]
    wanted: npt.NDArray[Any]
    weights: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


def _installed(version: str) -> Path | None:
    """The folder of that version; None for the one that the tests themselves run in."""
    if version == "newest":
        return None
    folder = FOLDER / f"onnxruntime-{version}-py{sys.version_info.major}.{sys.version_info.minor}"
    if not (folder / "onnxruntime" / "__init__.py").exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--target", str(folder)]
        needed = [f"onnxruntime=={version}", *(["numpy==1.26.4"] if version in NUMPY_1 else [])]
        done = subprocess.run([*command, *needed], capture_output=True, text=True, timeout=300)
        if done.returncode:
            pytest.skip(f"onnxruntime {version} cannot be installed here: {done.stderr.strip()[-200:]}")
    return folder


def _lrn(op_type: str, domain: str, x: npt.NDArray[Any], wanted: npt.NDArray[Any], **window: Any) -> Case:
    constants = {"alpha": ALPHA, "beta": BETA, "bias": BIAS}
    return Case(helper.make_node(op_type, ["X"], ["Y"], name="lrn", domain=domain, **constants, **window), x, wanted)


def _intra(windows: Iterable[tuple[int, ...]], dtype: type[np.floating[Any]]) -> Iterator[Case]:
    rng = np.random.default_rng(0)
    for window in windows:
        x = rng.standard_normal((2, 3, *(7, 6, 5)[: len(window)])).astype(dtype)
        wanted = reference.intra_channel_lrn(x, window, ALPHA, BETA, BIAS)
        yield _lrn("IntraChannelLRN", DOMAIN, x, wanted, kernel_shape=window)


def _inter(op_type: str, domain: str) -> Iterator[Case]:
    rng = np.random.default_rng(1)
    for size, rank in itertools.product(range(1, 6), (3, 4)):
        x = rng.standard_normal((2, 7, 4, 5)[:rank]).astype(np.float32)
        yield _lrn(op_type, domain, x, reference.inter_channel_lrn(x, size, ALPHA, BETA, BIAS), size=size)


def _norms() -> Iterator[Case]:
    """Yield norms whose weights take more than 127 bytes: from 1.24 on onnxruntime holds such apart from the graph."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 40, 3, 4)).astype(np.float32)
    weights = {name: rng.uniform(0.5, 1.5, 40).astype(np.float32) for name in ("scale", "bias")}
    weights["residual"] = np.zeros(1, np.float32)
    scale, bias = weights["scale"], weights["bias"]
    column = (1, 40, 1, 1)
    for op_type, given, wanted in (
        ("GroupNorm", {"num_groups": 4, "epsilon": 1e-5}, reference.group_norm(x, 4, scale, bias)),
        ("GroupNorm", {"num_groups": 40, "epsilon": 1e-5}, reference.group_norm(x, 40, scale, bias)),
        ("ChannelAffine", {"axis": 1}, x * scale.reshape(column).astype(np.float64) + bias.reshape(column)),
    ):
        attributes = {**given, "activation": 0, "alpha": 0.0, "beta": 0.0}
        node = helper.make_node(op_type, ["X", *weights], ["Y"], name="norm", domain=DOMAIN, **attributes)
        yield Case(node, x, wanted, weights)


def _model(cases: Sequence[Case], opset: int) -> onnx.ModelProto:
    """Return one model with all nodes beside each other, with an input and an output each, and their bodies."""
    nodes, inputs, outputs = [], [], []
    for i, case in enumerate(cases):
        node = onnx.NodeProto()
        node.CopyFrom(case.node)
        node.name, node.input[0], node.output[0] = f"{node.name}{i}", f"X{i}", f"Y{i}"
        nodes.append(node)
        element = helper.np_dtype_to_tensor_dtype(case.x.dtype)
        for values, name in ((inputs, f"X{i}"), (outputs, f"Y{i}")):
            values.append(helper.make_tensor_value_info(name, element, case.x.shape))
    custom = sorted({case.node.op_type for case in cases if case.node.domain})
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, VERSION)]
    weights = {name: array for case in cases for name, array in case.weights.items()}
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    functions = [portable_body(op_type, opset=opset) for op_type in custom]
    return helper.make_model(graph, opset_imports=imports[: 1 + bool(custom)], functions=functions, ir_version=9)


@functools.cache
def _files() -> dict[str, tuple[int, onnx.ModelProto, list[Case]]]:
    """Models by names, with their opsets and nodes: bodies of many windows, and what is written out for targets."""
    planes = list(itertools.product(range(1, 6), repeat=2))
    # Each two extents meet along each two axes.
    sizes = (1, 2, 3, 5)
    volumes = [(sizes[i], sizes[j], sizes[(i + j) % 4]) for i, j in itertools.product(range(4), repeat=2)]
    halves = itertools.product((1, 2, 5), repeat=2)
    in_planes = [*_intra(planes, np.float32), *_intra(halves, np.float16)]
    others = [*((n,) for n in range(1, 6)), *volumes]
    bodies = [*in_planes, *_intra(others, np.float32), *_inter("InterChannelLRN", DOMAIN), *_norms()]
    written = [*in_planes, *_inter("LRN", "")]
    files = {}
    for opset in OPSETS:
        # Old versions take a time for functions that grows with the square of their number.
        files.update({f"body{i}-{opset}": (opset, _model([body], opset), [body]) for i, body in enumerate(bodies)})
        plain = optimize(_model(written, opset), target="portable", verify=False).model
        assert isinstance(plain, onnx.ModelProto) and not plain.functions
        assert all(not node.domain and node.op_type != "LRN" for node in plain.graph.node)
        files[f"written-{opset}"] = (opset, plain, written)
    return files


@pytest.mark.parametrize("version", VERSIONS)
def test_written_out_forms_and_bodies_are_the_formula_in(version: str, tmp_path: Path) -> None:
    folder = _installed(version)
    files = {name: file for name, file in _files().items() if file[0] <= NEWEST_OPSET.get(version, 99)}
    for name, (_, model, cases) in files.items():
        onnx.save(model, tmp_path / f"{name}.onnx")
        np.savez(tmp_path / f"{name}.npz", **{f"X{i}": case.x for i, case in enumerate(cases)})
    # In front of all other folders, and not by PYTHONPATH, which a virtual environment may be told to ignore.
    script = ("" if folder is None else f"import sys; sys.path.insert(0, {str(folder)!r})\n") + RUN_ALL
    command = [sys.executable, "-c", script, str(tmp_path), version]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, level in itertools.product(files, ("off", "on")):
        results = np.load(tmp_path / f"{name}-{level}-out.npz")
        for i, case in enumerate(files[name][2]):
            got = results[f"Y{i}"]
            assert got.dtype == case.x.dtype
            rounding = 2.0**-9 if got.dtype == np.float16 else 2.0**-18
            message = f"{name}, optimizations {level}: {case.node}"
            least = 1e-7 if case.node.name == "lrn" else 1e-6
            np.testing.assert_allclose(got.astype(np.float64), case.wanted, rtol=rounding, atol=least, err_msg=message)

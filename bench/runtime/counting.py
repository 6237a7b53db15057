"""Nodes by kind after a runtime's own optimization."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import tempfile
from pathlib import Path

import onnx
import onnxruntime

import onnxnorm
from bench.nodes import Counts, nodes_by_kind

LEVELS = {
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with contextlib.suppress(onnxnorm.OnnxNormError):
        options.register_custom_ops_library(str(onnxnorm.custom_ops_library_path()))
    return options


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(path), _options(), providers=["CPUExecutionProvider"])


def after_onnxruntime(path: Path, level: str) -> Counts:
    with tempfile.TemporaryDirectory() as folder:
        options = _options()
        options.graph_optimization_level = LEVELS[level]
        options.optimized_model_filepath = str(Path(folder, "optimized.onnx"))
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return nodes_by_kind(onnx.load(options.optimized_model_filepath, load_external_data=False).graph)


def after_transformer_tool(path: Path, kind: str, heads: int, width: int) -> Counts:
    """Count what onnxruntime's offline tool for transformers leaves, with its fusions alone."""
    from onnxruntime.transformers.optimizer import optimize_model

    logging.disable(logging.WARNING)
    try:
        result = optimize_model(str(path), model_type=kind, num_heads=heads, hidden_size=width, opt_level=0)
    finally:
        logging.disable(logging.NOTSET)
    return nodes_by_kind(result.model.graph)


def after_openvino(path: Path) -> Counts:
    """Count what OpenVINO runs at every inference: what it computes from constants alone is left out."""
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": 1})
    found = Counts()
    constants = set()
    for op in compiled.get_runtime_model().get_ordered_ops():
        kind = str(op.get_rt_info()["layerType"].astype(str))
        makers = [value.get_node().get_friendly_name() for value in op.input_values()]
        if kind == "Const" or (makers and constants.issuperset(makers)):
            constants.add(op.get_friendly_name())
        elif kind not in {"Input", "Output"}:
            found[kind] += 1
    return found


def counts(path: Path, tool: tuple[str, int, int] | None) -> dict[str, Counts | str]:
    """Count by runtime; a runtime that refuses the model says why instead."""
    ways = {level: lambda level=level: after_onnxruntime(path, level) for level in LEVELS}
    if tool is not None:
        ways["transformers"] = lambda: after_transformer_tool(path, *tool)
    if importlib.util.find_spec("openvino") is not None:
        ways["openvino"] = lambda: after_openvino(path)
    found: dict[str, Counts | str] = {}
    for name, way in ways.items():
        try:
            found[name] = way()
        except Exception as error:
            # Runtimes raise anything.
            found[name] = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
    return found

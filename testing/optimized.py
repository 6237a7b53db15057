"""Shows the graph that onnxruntime makes of a model before it runs it."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime

__all__ = ["operators_in_onnxruntime"]

_LEVELS = onnxruntime.GraphOptimizationLevel


def operators_in_onnxruntime(
    model: onnx.ModelProto, folder: Path, level: onnxruntime.GraphOptimizationLevel = _LEVELS.ORT_ENABLE_ALL
) -> list[str]:
    """Return the operators of the main graph's nodes, in order, as onnxruntime's optimizations leave them.

    Args:
        model: the model.
        folder: takes the file that onnxruntime writes.
        level: of the optimizations.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]

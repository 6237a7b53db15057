"""Compares half precision with the converters of onnxruntime and onnxconverter-common, in one row for each."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import onnxnorm
from bench.runtime.exports import EXPORTERS, cases
from bench.runtime.timing import feeds
from bench.tables import print_row
from onnxnorm.evaluate.evaluator import Float64Evaluator
from onnxnorm.evaluate.rounded import RoundedEvaluator

__all__ = ["HEAD", "NETWORKS", "exported", "rows", "signal_to_noise"]

HEAD = ("net", "float16 by", "casts", "casts onnxruntime runs", "dB", "finite")
NETWORKS = ("bert", "gpt2", "llama", "t5", "vit", "whisper")
OPSETS = (17, 23)
_CONVERTERS = ("onnxruntime.transformers.float16", "onnxconverter_common.float16")

Row = tuple[object, ...]


def signal_to_noise(wanted: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> float:
    """Return the signal-to-noise ratio in decibels, of all arrays together."""
    noise = sum(float(np.sum((a - b) ** 2)) for a, b in zip(wanted, got, strict=True))
    signal = sum(float(np.sum(a**2)) for a in wanted)
    return float(10 * np.log10(signal / noise)) if noise else float("inf")


def exported(folder: Path) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Yield transformers as both exporters write them, with RMS norms written out below opset 23."""
    for case in cases(folder, list(NETWORKS), EXPORTERS, OPSETS, ()):
        yield case.name, onnx.load(case.path)


def rows(name: str, model: onnx.ModelProto) -> Iterator[Row]:
    """Yield a row for each converter, as it is printed; the others are given what `optimize` makes of the model."""
    optimized = onnxnorm.optimize(model, verify=False).model
    made: dict[str, Callable[[], onnx.ModelProto]] = {
        "onnxnorm": lambda: onnxnorm.optimize(model, dtype="float16", verify=False).model
    }
    for module in _CONVERTERS:
        if importlib.util.find_spec(module.split(".")[0]):
            convert = importlib.import_module(module).convert_float_to_float16
            # Both change the message that they are given.
            made[module.split(".")[0]] = lambda convert=convert: convert(_copy(optimized))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    drawn = feeds(session.get_inputs())
    wanted = list(Float64Evaluator(model).run(drawn).values())
    for tool, make in made.items():
        try:
            half = make()
            got = list(RoundedEvaluator(half).evaluate(drawn).values())
            casts, run = _casts(half), _casts(_in_onnxruntime(half))
        except Exception as error:
            made_row: Row = (name, tool, "-", "-", "-", " ".join(str(error).split())[:80])
        else:
            finite = all(bool(np.isfinite(array).all()) for array in got)
            made_row = (name, tool, casts, run, f"{signal_to_noise(wanted, got):.1f}", finite)
        print_row(*made_row)
        yield made_row


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.ModelProto.FromString(model.SerializeToString())


def _casts(model: onnx.ModelProto) -> int:
    return sum(node.op_type == "Cast" for node in model.graph.node)


def _in_onnxruntime(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph that onnxruntime runs on a processor, where it casts for kernels that have no float16."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(Path(folder, "optimized.onnx"))
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)

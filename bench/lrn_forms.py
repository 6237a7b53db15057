"""Inter-channel LRN in standard operators: how long each form takes in onnxruntime, in units of its own LRN node.

    python -m bench lrn_forms [--threads N]

The table behind `onnxnorm.write_out.lrn`: size 5, beta 0.75, input and output bound, the fastest of calls in turns.
`finite` says whether a form keeps to the formula where squares overflow: products with a band matrix make NaN of
infinity times zero, in channels whose window is finite.
"""

from __future__ import annotations

import argparse

import numpy as np
import onnx

from bench.clock import fastest
from bench.lrn import Case, bound, model_of
from bench.tables import print_head, print_row
from onnxnorm import reference, session

SHAPES = [(1, 64, 27, 27), (1, 96, 55, 55), (1, 256, 27, 27), (1, 192, 56, 56), (8, 64, 56, 56)]
ALPHA, BIAS, SIZE = 1e-4, 1.0, 5

POW = "Divisor = Pow(Base, Beta)"
ROOTS = "Root = Sqrt(Base) RootRoot = Sqrt(Root) Divisor = Mul(Root, RootRoot)"
POOL = """
    Rows = Reshape(Squared, RowsShape)
    Mean = AveragePool <kernel_shape = [5, 1], pads = [2, 0, 2, 0], count_include_pad = 1> (Rows)
    Scaled = Mul(Mean, Alpha) BaseRows = Add(Scaled, Bias) Base = Reshape(BaseRows, BackShape)"""
COLUMN = """
    Rows = Reshape(Squared, RowsShape)
    BaseRows = Conv <kernel_shape = [5, 1], pads = [2, 0, 2, 0]> (Rows, Column, Bias1)
    Base = Reshape(BaseRows, BackShape)"""
BAND = "Base = Conv <kernel_shape = [1, 1]> (Squared, Band, BiasC)"
CUBE = """
    Cube = Reshape(Squared, CubeShape)
    Mean = AveragePool <kernel_shape = [5, 1, 1], pads = [2, 0, 0, 2, 0, 0], count_include_pad = 1> (Cube)
    Scaled = Mul(Mean, Alpha) BaseCube = Add(Scaled, Bias) Base = Reshape(BaseCube, BackShape)"""
FORMS = {
    "3-D pool, Pow": CUBE + POW,
    "3-D pool, roots": CUBE + ROOTS,
    "pool, Pow": POOL + POW,
    "pool, roots": POOL + ROOTS,
    "column conv, Pow": COLUMN + POW,
    "column conv, roots": COLUMN + ROOTS,
    "band conv, Pow": BAND + POW,
    "band conv, roots": BAND + ROOTS,
}


def form_model(shape: tuple[int, ...], body: str) -> onnx.ModelProto:
    n, c, h, w = shape
    dims = f"float[{n},{c},{h},{w}]"
    text = f"""<ir_version: 10, opset_import: ["" : 18]> form ({dims} X) => ({dims} Y)
        {{ Squared = Mul(X, X) {body} Y = Div(X, Divisor) }}"""
    model = onnx.parser.parse_model(text)
    back = (SIZE - 1) // 2
    offsets = np.arange(c)[None, :] - np.arange(c)[:, None]
    band = ((offsets >= -back) & (offsets <= SIZE // 2)).astype(np.float32) * np.float32(ALPHA / SIZE)
    constants = {
        "RowsShape": np.array([n, 1, c, h * w]),
        "CubeShape": np.array([n, 1, c, h, w]),
        "BackShape": np.array(shape),
        "Alpha": np.float32(ALPHA),
        "Bias": np.float32(BIAS),
        "Beta": np.float32(0.75),
        "Column": np.full((1, 1, SIZE, 1), ALPHA / SIZE, np.float32),
        "Bias1": np.full(1, BIAS, np.float32),
        "Band": band[:, :, None, None],
        "BiasC": np.full(c, BIAS, np.float32),
    }
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items() if name in used
    )
    return model


def stays_finite(body: str) -> bool:
    x = np.ones((1, 16, 1, 1), np.float32)
    x[0, 0] = 1e30
    y = session(form_model(x.shape, body)).run(None, {"X": x})[0]
    return bool(np.isfinite(y).all())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    names = ["x".join(map(str, shape)) for shape in SHAPES]
    print_head("form", "finite", *names)
    ratios: dict[str, list[float]] = {name: [] for name in FORMS}
    for shape in SHAPES:
        x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        models = {name: form_model(shape, body) for name, body in FORMS.items()}
        models["LRN"] = model_of(Case("inter", SIZE, shape), "")
        y = {name: np.zeros_like(x) for name in models}
        calls = {name: bound(session(model, threads=threads), x, y[name]) for name, model in models.items()}
        seconds = fastest(calls)
        wanted = reference.inter_channel_lrn(x, SIZE, ALPHA, 0.75, BIAS)
        for name in FORMS:
            np.testing.assert_allclose(y[name], wanted, rtol=1e-5)
            ratios[name].append(seconds[name] / seconds["LRN"])
    for name, body in FORMS.items():
        finite = "yes" if stays_finite(body) else "no"
        print_row(name, finite, *(f"{ratio:.3f}" for ratio in ratios[name]))

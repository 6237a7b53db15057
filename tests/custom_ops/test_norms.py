"""The kernels of all normalizations but LRN, and their portable bodies, against the float64 formula."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from onnxnorm import OnnxNormError, session
from onnxnorm.evaluate.custom_norms import CUSTOM_NORMS, activated
from onnxnorm.ops.operators import ACTIVATIONS, DOMAIN, NORMS
from tests.custom_ops.test_kernels import EPSILON, SMALLEST, TYPES, pytestmark, target  # noqa: F401

Array = npt.NDArray[Any]

# For each operator the attributes that it has no default for, and the axis of its weights.
REQUIRED: dict[str, dict[str, Any]] = {"GroupNorm": {"num_groups": 2}, "MeanVarianceNorm": {"axes": [2, 3]}}


def make(op: str, rank: int, dtype: str = "float32", **attributes: object) -> onnx.ModelProto:
    element = onnx.helper.np_dtype_to_tensor_dtype(TYPES[dtype])
    ranks = {"X": rank, "scale": None, "bias": None, "residual": None, "Y": rank}
    values = [
        onnx.helper.make_tensor_value_info(name, element, None if r is None else [None] * r)
        for name, r in ranks.items()
    ]
    node = onnx.helper.make_node(op, list(ranks)[:4], ["Y"], name="norm", domain=DOMAIN, **attributes)
    graph = onnx.helper.make_graph([node], "kernel", values[:4], values[4:])
    imports = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid(DOMAIN, 1)]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)


def run(model: onnx.ModelProto, feeds: Sequence[Array], threads: int = 1, portable: bool = False) -> Array:
    """Through I/O binding, which knows every element type."""
    runner = session(model, threads=threads, portable=portable)
    binding = runner.io_binding()
    x = feeds[0]
    element = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    y = np.full_like(x, 7)
    for name, array in zip(("X", "scale", "bias", "residual"), feeds, strict=True):
        binding.bind_input(name, "cpu", 0, element, array.shape, array.ctypes.data)
    binding.bind_output("Y", "cpu", 0, element, y.shape, y.ctypes.data)
    runner.run_with_iobinding(binding)
    return y


def formula(op: str, feeds: Sequence[Array], **attributes: Any) -> Array:
    wide = [array.astype(np.float64) for array in feeds]
    rounded = {k: float(np.float32(v)) if isinstance(v, float) else v for k, v in attributes.items()}
    defaults = {k: float(np.float32(v)) if isinstance(v, float) else v for k, v in NORMS[op].defaults.items()}
    result: Array = CUSTOM_NORMS[DOMAIN, op](None, *wide, **{**defaults, **rounded})
    return result


def assert_close(y: Array, wanted: Array, digits: float = 4, floor: float | Array = 1.0) -> None:
    """Within some units of the last digit of the result, or of what it was summed from (`floor`)."""
    dtype = y.dtype.name
    got = y.astype(np.float64)
    with np.errstate(all="ignore"):
        rounded = wanted.astype(y.dtype).astype(np.float64)
        finite = np.isfinite(rounded)
        np.testing.assert_array_equal(got[~finite], rounded[~finite])
        error = np.abs(got[finite] - wanted[finite])
    allowed = (2 * digits if dtype == "float64" else digits) * EPSILON[dtype]
    bound = allowed * np.maximum(np.abs(wanted), floor)[finite] + SMALLEST[dtype]
    assert np.all(error <= bound), f"{np.max(error / bound) * digits:.2f} units of the last digit"


def draw(
    shape: Sequence[int], dtype: str, weights: int = 1, *, residual: bool = False, seed: int = 0, scale: float = 2.0
) -> list[Array]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(tuple(shape)) * scale + 0.5
    arrays = [
        x,
        rng.uniform(0.5, 1.5, weights),
        rng.uniform(-1, 1, weights),
        rng.standard_normal(tuple(shape)) if residual else np.zeros(1),
    ]
    return [array.astype(TYPES[dtype]) for array in arrays]


def check(op: str, feeds: Sequence[Array], threads: int = 1, digits: float = 4, **attributes: Any) -> None:
    model = make(op, feeds[0].ndim, feeds[0].dtype.name, **attributes)
    assert_close(run(model, feeds, threads), formula(op, feeds, **attributes), digits)


PIXELS = (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 67)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(target: str, dtype: str, groups: int) -> None:  # noqa: F811
    for pixels, weights in itertools.product(PIXELS, {1, groups, 6}):
        check("GroupNorm", draw((2, 6, pixels), dtype, weights), num_groups=groups)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", ["ChannelLayerNorm", "ChannelRMSNorm", "ChannelLpNorm"])
def test_channel_norms(target: str, dtype: str, op: str) -> None:  # noqa: F811
    for pixels, channels in itertools.product(PIXELS, (1, 5, 19)):
        check(op, draw((2, channels, pixels), dtype, channels if channels > 1 else 1))
    if op == "ChannelLpNorm":
        check(op, draw((2, 19, 33), dtype, 19), p=1, epsilon=1e-3)
    check(op, draw((2, 3, 19), dtype, 19), axis=-1)


@pytest.mark.parametrize("dtype", TYPES)
def test_mean_variance(target: str, dtype: str) -> None:  # noqa: F811
    for axes in ([0], [1], [-1], [0, 1], [1, 2], [3, 2], [0, 1, 2, 3], [1, 2, 3]):
        check("MeanVarianceNorm", draw((3, 4, 5, 18), dtype), axes=axes)


@pytest.mark.parametrize("dtype", TYPES)
def test_global_response(target: str, dtype: str) -> None:  # noqa: F811
    for shape in ((2, 6, 5, 7), (2, 17, 9), (1, 1, 8), (3, 5, 4, 33)):
        for axis in (1, -1):
            check("GlobalResponseNorm", draw(shape, dtype, shape[axis]), axis=axis, digits=8)


@pytest.mark.parametrize("dtype", TYPES)
def test_affine(target: str, dtype: str) -> None:  # noqa: F811
    for shape in ((3, 7), (2, 17, 9), (2, 6, 5, 7), (3, 5, 4, 33), (1, 40, 1)):
        for axis in (0, 1, -1):
            check("ChannelAffine", draw(shape, dtype, shape[axis]), axis=axis, digits=8)


@pytest.mark.parametrize("op", NORMS)
@pytest.mark.parametrize(
    ("activation", "dtype"), [*((a, "float32") for a in range(len(ACTIVATIONS))), *((3, dtype) for dtype in TYPES)]
)
def test_activations_and_residuals(target: str, dtype: str, op: str, activation: int) -> None:  # noqa: F811
    bend = {"activation": activation, "alpha": -0.25 if activation == 6 else 0.125, "beta": 0.75}
    for residual in (False, True):
        weights = 1 if op == "MeanVarianceNorm" else 6
        feeds = draw((2, 6, 5, 7), dtype, weights, residual=residual)
        check(op, feeds, digits=12 if op == "GlobalResponseNorm" else 6, **REQUIRED.get(op, {}), **bend)


@pytest.mark.parametrize("activation", range(1, len(ACTIVATIONS)))
def test_activations_over_their_range(target: str, activation: int) -> None:  # noqa: F811
    """To a few units of the last digit of the largest term, at every number that float has between -120 and 120."""
    x = np.concatenate([np.linspace(-120, 120, 20001), [np.nan, np.inf, 1e30, -1e30], np.geomspace(1e-30, 1e3, 999)])
    feeds = [x.astype(np.float32)[None], *(np.array([v], np.float32) for v in (1, 0, 0))]
    with np.errstate(all="ignore"):
        y = run(make("ChannelAffine", 2, activation=activation, alpha=-0.5, beta=3.0), feeds)
        wanted = activated(feeds[0].astype(np.float64), activation, -0.5, 3.0)
        # A GELU and a hard swish of a negative number are the difference of two halves of it.
        halves = np.where(feeds[0] < 0, np.abs(feeds[0]) / 2, 0.0)
        assert_close(
            y, wanted, floor={2: 1e-30, 3: halves, 4: np.maximum(halves, 2e-2), 7: halves}.get(activation, 0.0)
        )


@pytest.mark.parametrize(("mean", "deviation"), [(1e4, 1e-2), (-3e6, 1.0), (1e-3, 1e-9), (1e25, 1e22), (1e-25, 1e-27)])
def test_statistics_do_not_cancel(target: str, mean: float, deviation: float) -> None:  # noqa: F811
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((2, 32, 41, 43)) * deviation + mean).astype(np.float32)
    rest = [np.array([v], np.float32) for v in (1, 0, 0)]
    x[0, 0, :9] = 0  # what comes first is no hint of the mean
    for op, attributes in (
        ("GroupNorm", {"num_groups": 4}),
        ("GroupNorm", {"num_groups": 1}),
        ("ChannelLayerNorm", {}),
        ("MeanVarianceNorm", {"axes": [2, 3]}),
        ("MeanVarianceNorm", {"axes": [0, 1]}),
    ):
        check(op, [x, *rest], threads=2, **attributes, epsilon=0.0)


def test_nan_infinity_and_zeros(target: str) -> None:  # noqa: F811
    feeds = draw((4, 6, 5, 9), "float32")
    feeds[0][0, 1, 2, 3], feeds[0][1, 4, 0, 0], feeds[0][2] = np.nan, np.inf, 0
    with np.errstate(all="ignore"):
        for op in NORMS:
            if op != "GlobalResponseNorm":
                check(op, feeds, **REQUIRED.get(op, {}))
        check("GroupNorm", feeds, num_groups=3, epsilon=0.0)
        check("ChannelLayerNorm", feeds, epsilon=0.0)
        check("ChannelLpNorm", feeds, p=1)


def test_threads_agree_bit_for_bit(target: str) -> None:  # noqa: F811
    for op, shape, attributes in (
        ("GroupNorm", (1, 8, 150, 151), {"num_groups": 1}),
        ("GroupNorm", (1, 64, 50, 51), {"num_groups": 32}),
        ("ChannelLayerNorm", (1, 96, 60, 61), {}),
        ("GlobalResponseNorm", (1, 40, 41, 96), {"axis": -1}),
        ("GlobalResponseNorm", (1, 96, 40, 41), {}),
        ("ChannelAffine", (1, 96, 40, 41), {}),
    ):
        feeds, model = draw(shape, "float32"), make(op, 4, **attributes)
        alone = run(model, feeds, 1)
        for threads in (2, 3, 8):
            np.testing.assert_array_equal(alone, run(model, feeds, threads))
        assert_close(alone, formula(op, feeds, **attributes), digits=12)


@pytest.mark.parametrize("op", NORMS)
def test_empty_tensors(op: str) -> None:
    for shape in ((0, 6, 4, 5), (2, 6, 0, 5)):
        assert run(make(op, 4, **REQUIRED.get(op, {})), draw(shape, "float32")).shape == shape
    no_channels = draw((2, 0, 4, 5), "float32", 1 if op == "MeanVarianceNorm" else 0)
    assert run(make(op, 4, **REQUIRED.get(op, {})), no_channels).shape == (2, 0, 4, 5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", NORMS)
@pytest.mark.parametrize("activation", range(len(ACTIVATIONS)))
def test_bodies_follow_the_formula(op: str, dtype: str, activation: int) -> None:
    attributes = {**REQUIRED.get(op, {}), "activation": activation, "alpha": 0.125, "beta": 0.75}
    if ACTIVATIONS[activation] == "Gelu" and dtype == "float64":
        with pytest.raises(OnnxNormError, match=r"implementation for Erf"):  # onnxruntime has none for doubles
            run(make(op, 4, dtype, **attributes), draw((2, 6, 5, 6), dtype, 1), portable=True)
        return
    for weights, residual in ((1, False), (1 if op == "MeanVarianceNorm" else 6, True)):
        feeds = draw((2, 6, 5, 6), dtype, weights, residual=residual)
        y = run(make(op, 4, dtype, **attributes), feeds, portable=True)
        np.testing.assert_allclose(y, formula(op, feeds, **attributes), rtol=2e-5, atol=2e-6)
    if "axis" in NORMS[op].defaults:
        feeds = draw((2, 4, 5, 6), dtype, 6)
        y = run(make(op, 4, dtype, axis=-1, **attributes), feeds, portable=True)
        np.testing.assert_allclose(y, formula(op, feeds, axis=-1, **attributes), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("op", "rank", "attributes", "reason"),
    [
        ("GroupNorm", 4, {}, "num_groups"),
        ("GroupNorm", 4, {"num_groups": 0}, "num_groups must be at least 1"),
        ("GroupNorm", 1, {"num_groups": 1}, "channel axis"),
        ("GroupNorm", 4, {"num_groups": 1, "activation": 8}, "activation must be one of"),
        ("GroupNorm", 4, {"num_groups": 1, "epsilon": float("nan")}, "epsilon"),
        ("ChannelLayerNorm", 4, {"axis": 4}, "no axis"),
        ("ChannelLpNorm", 4, {"p": 3}, "p must be 1 or 2"),
        ("MeanVarianceNorm", 4, {"axes": [0, 2]}, "a run of axes"),
        ("MeanVarianceNorm", 4, {"axes": [1, 1]}, "a run of axes"),
        ("GlobalResponseNorm", 4, {"axis": 2}, "axis must be 1 or the last"),
    ],
)
def test_wrong_nodes_are_refused(op: str, rank: int, attributes: dict[str, Any], reason: str) -> None:
    with pytest.raises(OnnxNormError, match=reason):
        session(make(op, rank, **attributes))


def test_weights_of_another_length_are_refused() -> None:
    with pytest.raises(Exception, match=r"GroupNorm node 'norm': the scale has 5 elements"):
        run(make("GroupNorm", 4, num_groups=2), draw((2, 6, 3, 3), "float32", 5))
    feeds = draw((2, 6, 3, 3), "float32")
    with pytest.raises(Exception, match=r"num_groups is 4 and does not divide the 6 channels"):
        run(make("GroupNorm", 4, num_groups=4), feeds)
    with pytest.raises(Exception, match="the residual must have the shape"):
        run(make("GroupNorm", 4, num_groups=2), [*feeds[:3], np.zeros((1, 6, 3, 3), np.float32)])


def test_the_formulas_are_those_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    feeds = draw((2, 6, 5, 7), "float64", 6, residual=True)
    x, scale, bias, residual = (torch.from_numpy(array) for array in feeds)
    grouped = f.group_norm(x, 3, scale, bias, 1e-5)
    layer = f.layer_norm(x.permute(0, 2, 3, 1), (6,), scale, bias, 1e-5).permute(0, 3, 1, 2)
    rms = f.rms_norm(x.permute(0, 2, 3, 1), (6,), scale, 1e-5).permute(0, 3, 1, 2) + bias[:, None, None]
    bends = {
        1: f.relu, 2: f.silu, 3: f.gelu, 4: lambda v: f.gelu(v, approximate="tanh"),
        5: lambda v: f.leaky_relu(v, 0.125), 6: lambda v: v.clamp(0.125, 0.75), 7: f.hardswish,
    }  # fmt: skip
    for activation, bend in bends.items():
        for op, plain, more in (
            ("GroupNorm", grouped, {"num_groups": 3}),
            ("ChannelLayerNorm", layer, {}),
            ("ChannelRMSNorm", rms, {}),
        ):
            attributes = {"activation": activation, "alpha": 0.125, "beta": 0.75, "epsilon": 1e-5, **more}
            wanted = bend(plain + residual).numpy()
            np.testing.assert_allclose(CUSTOM_NORMS[DOMAIN, op](None, *feeds, **attributes), wanted, rtol=1e-10)

"""The kernels of all normalizations but LRN, and their portable bodies, against the float64 formula."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from onnxnorm import OnnxNormError, session
from onnxnorm.evaluate.custom_norms import CUSTOM_NORMS, activated
from onnxnorm.ops.operators import ACTIVATIONS, DOMAIN, NORMS
from onnxnorm.runtime.library import find_library
from tests.custom_ops import single_nodes
from tests.custom_ops.single_nodes import TYPES, Array, assert_close

pytestmark = pytest.mark.skipif(find_library() is None, reason="needs the native library")

# For each operator the attributes that it has no default for, and the axis of its weights.
REQUIRED: dict[str, dict[str, Any]] = {"GroupNorm": {"num_groups": 2}, "MeanVarianceNorm": {"axes": [2, 3]}}
BENDS = range(len(ACTIVATIONS))


def make(op: str, rank: int, dtype: str = "float32", **attributes: object) -> onnx.ModelProto:
    return variants(op, rank, dtype, [attributes])


def variants(op: str, rank: int, dtype: str, attributes: Sequence[Mapping[str, object]]) -> onnx.ModelProto:
    return single_nodes.model_of(op, {"X": rank, "scale": None, "bias": None, "residual": None}, dtype, attributes)


def run(model: onnx.ModelProto, feeds: Sequence[Array], threads: int = 1, portable: bool = False) -> Array:
    (y,) = single_nodes.run(model, feeds, threads, portable)
    return y


def formula(op: str, feeds: Sequence[Array], **attributes: Any) -> Array:
    wide = [array.astype(np.float64) for array in feeds]
    rounded = {k: float(np.float32(v)) if isinstance(v, float) else v for k, v in attributes.items()}
    defaults = {k: float(np.float32(v)) if isinstance(v, float) else v for k, v in NORMS[op].defaults.items()}
    result: Array = CUSTOM_NORMS[DOMAIN, op](None, *wide, **{**defaults, **rounded})
    return result


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
    check_all(op, feeds, [attributes], threads, digits)


def check_all(
    op: str, feeds: Sequence[Array], nodes: Sequence[Mapping[str, Any]], threads: int = 1, digits: float = 4
) -> None:
    """Nodes that differ by their attributes, in one session."""
    model = variants(op, feeds[0].ndim, feeds[0].dtype.name, nodes)
    for y, attributes in zip(single_nodes.run(model, feeds, threads), nodes, strict=True):
        assert_close(y, formula(op, feeds, **attributes), digits, 1.0, attributes)


PIXELS = (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 67)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(target: str, dtype: str, groups: int) -> None:
    for pixels, weights in itertools.product(PIXELS, {1, groups, 6}):
        check("GroupNorm", draw((2, 6, pixels), dtype, weights), num_groups=groups)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("op", ["ChannelLayerNorm", "ChannelRMSNorm", "ChannelLpNorm"])
def test_channel_norms(target: str, dtype: str, op: str) -> None:
    for pixels, channels in itertools.product(PIXELS, (1, 5, 19)):
        check(op, draw((2, channels, pixels), dtype, channels if channels > 1 else 1))
    if op == "ChannelLpNorm":
        check(op, draw((2, 19, 33), dtype, 19), p=1, epsilon=1e-3)
    check(op, draw((2, 3, 19), dtype, 19), axis=-1)


@pytest.mark.parametrize("dtype", TYPES)
def test_mean_variance(target: str, dtype: str) -> None:
    for axes in ([0], [1], [-1], [0, 1], [1, 2], [3, 2], [0, 1, 2, 3], [1, 2, 3]):
        check("MeanVarianceNorm", draw((3, 4, 5, 18), dtype), axes=axes)


@pytest.mark.parametrize("dtype", TYPES)
def test_global_response(target: str, dtype: str) -> None:
    for shape in ((2, 6, 5, 7), (2, 17, 9), (1, 1, 8), (3, 5, 4, 33)):
        for axis in (1, -1):
            check("GlobalResponseNorm", draw(shape, dtype, shape[axis]), axis=axis, digits=8)


@pytest.mark.parametrize("dtype", TYPES)
def test_affine(target: str, dtype: str) -> None:
    for shape in ((3, 7), (2, 17, 9), (2, 6, 5, 7), (3, 5, 4, 33), (1, 40, 1)):
        for axis in (0, 1, -1):
            check("ChannelAffine", draw(shape, dtype, shape[axis]), axis=axis, digits=8)


def bent(op: str, activation: int) -> dict[str, Any]:
    bend = {"activation": activation, "alpha": -0.25 if activation == 6 else 0.125, "beta": 0.75}
    return {**REQUIRED.get(op, {}), **bend}


@pytest.mark.parametrize("op", NORMS)
@pytest.mark.parametrize("dtype", TYPES)
def test_activations_and_residuals(target: str, dtype: str, op: str) -> None:
    nodes = [bent(op, activation) for activation in (BENDS if dtype == "float32" else [3])]
    for residual in (False, True):
        feeds = draw((2, 6, 5, 7), dtype, 1 if op == "MeanVarianceNorm" else 6, residual=residual)
        check_all(op, feeds, nodes, digits=12 if op == "GlobalResponseNorm" else 6)


def test_activations_over_their_range(target: str) -> None:
    """To a few units of the last digit of the largest term, at numbers between -120 and 120, and at the ends."""
    x = np.concatenate([np.linspace(-120, 120, 20001), [np.nan, np.inf, 1e30, -1e30], np.geomspace(1e-30, 1e3, 999)])
    feeds = [x.astype(np.float32)[None], *(np.array([v], np.float32) for v in (1, 0, 0))]
    nodes = [{"activation": activation, "alpha": -0.5, "beta": 3.0} for activation in BENDS]
    # A GELU and a hard swish of a negative number are the difference of two halves of it.
    halves = np.where(feeds[0] < 0, np.abs(feeds[0]) / 2, 0.0)
    floors: dict[int, float | Array] = {2: 1e-30, 3: halves, 4: np.maximum(halves, 2e-2), 7: halves}
    with np.errstate(all="ignore"):
        results = single_nodes.run(variants("ChannelAffine", 2, "float32", nodes), feeds)
        for activation, y in enumerate(results):
            wanted = activated(feeds[0].astype(np.float64), activation, -0.5, 3.0)
            assert_close(y, wanted, floor=floors.get(activation, 0.0), what=ACTIVATIONS[activation])


@pytest.mark.parametrize(("mean", "deviation"), [(1e4, 1e-2), (-3e6, 1.0), (1e-3, 1e-9), (1e25, 1e22), (1e-25, 1e-27)])
def test_statistics_do_not_cancel(target: str, mean: float, deviation: float) -> None:
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


def test_nan_infinity_and_zeros(target: str) -> None:
    feeds = draw((4, 6, 5, 9), "float32")
    feeds[0][0, 1, 2, 3], feeds[0][1, 4, 0, 0], feeds[0][2] = np.nan, np.inf, 0
    with np.errstate(all="ignore"):
        for op in NORMS:
            if op != "GlobalResponseNorm":
                check(op, feeds, **REQUIRED.get(op, {}))
        check("GroupNorm", feeds, num_groups=3, epsilon=0.0)
        check("ChannelLayerNorm", feeds, epsilon=0.0)
        check("ChannelLpNorm", feeds, p=1)


def test_threads_agree_bit_for_bit(target: str) -> None:
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
        assert_close(alone, formula(op, feeds, **attributes), 12, 1.0)


@pytest.mark.parametrize("op", NORMS)
def test_empty_tensors(op: str) -> None:
    for shape in ((0, 6, 4, 5), (2, 6, 0, 5)):
        assert run(make(op, 4, **REQUIRED.get(op, {})), draw(shape, "float32")).shape == shape
    no_channels = draw((2, 0, 4, 5), "float32", 1 if op == "MeanVarianceNorm" else 0)
    assert run(make(op, 4, **REQUIRED.get(op, {})), no_channels).shape == (2, 0, 4, 5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", NORMS)
def test_bodies_follow_the_formula(op: str, dtype: str) -> None:
    bends = [activation for activation in BENDS if dtype == "float32" or ACTIVATIONS[activation] != "Gelu"]
    common = {**REQUIRED.get(op, {}), "alpha": 0.125, "beta": 0.75}
    nodes: list[dict[str, Any]] = [{**common, "activation": activation} for activation in bends]
    runs = [(nodes, draw((2, 6, 5, 6), dtype))]
    runs.append((nodes, draw((2, 6, 5, 6), dtype, 1 if op == "MeanVarianceNorm" else 6, residual=True)))
    if "axis" in NORMS[op].defaults:
        runs.append(([{**node, "axis": -1} for node in nodes], draw((2, 4, 5, 6), dtype, 6)))
    for each, feeds in runs:
        results = single_nodes.run(variants(op, 4, dtype, each), feeds, portable=True)
        for y, attributes in zip(results, each, strict=True):
            wanted = formula(op, feeds, **attributes)
            np.testing.assert_allclose(y, wanted, rtol=2e-5, atol=2e-6, err_msg=str(attributes))


def test_the_body_of_a_gelu_of_doubles_is_refused_with_a_reason() -> None:
    model = make("ChannelAffine", 4, "float64", activation=ACTIVATIONS.index("Gelu"))
    with pytest.raises(OnnxNormError, match=r"implementation for Erf"):  # onnxruntime has none for doubles
        session(model, portable=True)


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
    with pytest.raises(Exception, match=r"GroupNorm node 'node': the scale has 5 elements"):
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

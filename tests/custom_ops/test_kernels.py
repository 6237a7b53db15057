"""The native kernels against the float64 formula, over shapes, windows, powers, types and instruction sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxnorm import reference, session
from onnxnorm.runtime.library import find_library
from tests.custom_ops import single_nodes
from tests.custom_ops.single_nodes import EPSILON, SMALLEST, TYPES, Array, assert_close

pytestmark = pytest.mark.skipif(find_library() is None, reason="needs the native library")


def make(op: str, rank: int, dtype: str = "float32", **attributes: object) -> onnx.ModelProto:
    return single_nodes.model_of(op, {"X": rank}, dtype, [attributes])


def run(model: onnx.ModelProto, x: Array, threads: int = 1) -> Array:
    (y,) = single_nodes.run(model, [x], threads)
    return y


def expected(op: str, x: Array, window: Sequence[int], alpha: float, beta: float, bias: float) -> Array:
    alpha, beta, bias = (float(np.float32(value)) for value in (alpha, beta, bias))
    if op == "InterChannelLRN":
        return reference.inter_channel_lrn(x, window[0], alpha, beta, bias)
    return reference.intra_channel_lrn(x, window, alpha, beta, bias)


def check(
    op: str,
    x: Array,
    window: Sequence[int],
    alpha: float,
    beta: float | Sequence[float],
    bias: float,
    threads: int = 1,
) -> None:
    """One node for each power, in one session."""
    named = {"size": window[0]} if op == "InterChannelLRN" else {"kernel_shape": list(window)}
    betas = [beta] if isinstance(beta, float) else beta
    nodes = [{"alpha": alpha, "beta": each, "bias": bias, **named} for each in betas]
    model = single_nodes.model_of(op, {"X": x.ndim}, x.dtype.name, nodes)
    for y, each in zip(single_nodes.run(model, [x], threads), betas, strict=True):
        assert_close(y, expected(op, x, window, alpha, each, bias), what=f"beta {each}")


def normal(shape: Sequence[int], dtype: str = "float32", seed: int = 0, scale: float = 3.0) -> Array:
    return (np.random.default_rng(seed).standard_normal(tuple(shape)) * scale).astype(TYPES[dtype])


# Around every vector width, and around the widths at which the window sums change their method.
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33)
WINDOWS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 17, 31, 40, 67)


@pytest.mark.parametrize("window", WINDOWS)
def test_intra_channel_windows(target: str, window: int) -> None:
    for width in WIDTHS:
        check("IntraChannelLRN", normal((1, 2, 35, width)), (window, window), 20.0, 0.75, 1.5)


@pytest.mark.parametrize("window", WINDOWS)
def test_inter_channel_windows(target: str, window: int) -> None:
    for pixels in WIDTHS:
        check("InterChannelLRN", normal((2, 35, pixels)), (window,), 20.0, 0.75, 1.5)


@pytest.mark.parametrize("dtype", TYPES)
def test_powers_and_types(target: str, dtype: str) -> None:
    betas = [0.75, 0.5, 1.0, 0.25, 0.6, 0.0, 2.0, -0.5]
    for op, window in (("IntraChannelLRN", (3, 5)), ("InterChannelLRN", (5,))):
        check(op, normal((2, 7, 9, 19), dtype), window, 2.0, betas, 1.0)
        check(op, normal((2, 3, 2, 3), dtype), window, 2.0, betas, 1.0)


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((2, 3, 50), (7,)),
        ((2, 3, 6, 7, 20), (3, 3, 3)),
        ((2, 3, 6, 7, 20), (1, 3, 3)),
        ((2, 3, 6, 7, 20), (3, 1, 3)),
        ((2, 3, 6, 7, 20), (3, 3, 1)),
        ((1, 2, 40, 3, 2), (31, 2, 4)),
        ((1, 2, 3, 40, 5), (2, 31, 9)),
        ((1, 1, 5, 6, 7), (1, 1, 1)),
        ((1, 1, 1, 1), (9, 9)),
        ((3, 2, 4, 60), (1, 31)),
        ((3, 2, 60, 4), (31, 1)),
    ],
)
def test_intra_channel_ranks(target: str, shape: tuple[int, ...], window: tuple[int, ...]) -> None:
    check("IntraChannelLRN", normal(shape), window, 5.0, 0.75, 2.0)
    check("IntraChannelLRN", normal(shape, "float64"), window, 5.0, 0.75, 2.0)


@pytest.mark.parametrize("shape", [(3, 40), (2, 20, 3), (2, 6, 5, 4), (2, 6, 3, 2, 4), (1, 3, 2, 2, 2, 2)])
def test_inter_channel_ranks(target: str, shape: tuple[int, ...]) -> None:
    for size in (1, 4, 5, 23):
        check("InterChannelLRN", normal(shape), (size,), 5.0, 0.75, 2.0)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="no type with more digits than double")
@pytest.mark.parametrize("scale", [1e-160, 1e-8, 1.0, 1e3, 1e150])
def test_powers_in_double(target: str, scale: float) -> None:
    """Windows of one element, so that the power alone is held against one in more digits, near the range's ends too."""
    x = normal((2, 3, 5, 41), "float64", scale=scale)
    betas = [0.0, 0.1, 0.6, 1.5, 2.0, 7.0, 40.0, -0.3, -3.0]
    nodes = [{"alpha": 0.5, "beta": beta, "bias": 0.75, "kernel_shape": [1, 1]} for beta in betas]
    results = single_nodes.run(single_nodes.model_of("IntraChannelLRN", {"X": 4}, "float64", nodes), [x])
    wide = x.astype(np.longdouble)
    for beta, y in zip(betas, results, strict=True):
        with np.errstate(all="ignore"):
            base = x.astype(np.float64) ** 2 * 0.5 + 0.75  # rounded twice, which beta makes more of
            power = base.astype(np.longdouble) ** np.longdouble(np.float32(beta))
            wanted = wide / power
            off = np.abs(y - wanted) / (EPSILON["float64"] * np.abs(wanted) + SMALLEST["float64"])
        held = (power < np.finfo(np.float64).max) & (np.abs(wanted) < np.finfo(np.float64).max)
        assert held.all() or scale == 1e150
        assert np.all(off[held] <= 4 + 2 * abs(beta)), beta


@pytest.mark.parametrize("shape", [(0, 2, 4, 4), (2, 0, 4, 4), (2, 2, 0, 4), (2, 2, 4, 0)])
def test_empty_tensors(shape: tuple[int, ...]) -> None:
    check("IntraChannelLRN", normal(shape), (3, 3), 1.0, 0.75, 1.0)
    check("InterChannelLRN", normal(shape), (3,), 1.0, 0.75, 1.0)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.lists(st.integers(1, 24), min_size=3, max_size=5),
    windows=st.lists(st.integers(1, 40), min_size=3, max_size=3),
    beta=st.sampled_from([0.25, 0.5, 0.6, 0.75, 1.0]),
    magnitude=st.floats(-15, 15),
    dtype=st.sampled_from(list(TYPES)),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape(shape: list[int], windows: list[int], beta: float, magnitude: float, dtype: str, seed: int) -> None:
    x = normal(shape, dtype, seed, 10.0 ** min(magnitude, 4.0 if dtype == "float16" else 15.0))
    check("IntraChannelLRN", x, windows[: len(shape) - 2], 0.5, beta, 1.0)
    check("InterChannelLRN", x, windows[:1], 0.5, beta, 1.0)


@pytest.mark.parametrize("bias", [1.0, 0.0])
def test_a_value_reaches_the_windows_that_hold_it_and_no_other(target: str, bias: float) -> None:
    for value in (np.nan, np.inf, -np.inf, 1e30, 1e-30, 0.0):
        x = normal((1, 3, 40, 40))
        x[0, 1, 17, 20] = value
        x[0, 1, 39, 0] = value
        for op, window in (("IntraChannelLRN", (5, 14)), ("InterChannelLRN", (3,))):
            check(op, x, window, 1.0, [0.75, 0.5, 1.0, 0.3], bias)


@pytest.mark.parametrize("bias", [0.0, 1.0, 1e-30])
def test_squares_beyond_the_range_of_float(target: str, bias: float) -> None:
    for magnitude in (1e-40, 1e-25, 1e-19, 1e19, 1e30):
        x = normal((1, 4, 9, 21), scale=magnitude)
        for op, window in (("IntraChannelLRN", (3, 3)), ("InterChannelLRN", (5,))):
            check(op, x, window, 1.0, [0.75, 0.5, 0.25, 1.0, 0.3], bias)


@pytest.mark.parametrize(
    ("alpha", "bias"), [(-1.0, 1.0), (1.0, -3.0), (1e-42, 0.0), (1e38, 1e38), (0.0, 2.0), (0.0, 0.0)]
)
def test_constants_at_the_ends_of_their_range(target: str, alpha: float, bias: float) -> None:
    check("IntraChannelLRN", normal((1, 2, 5, 9), scale=0.5), (3, 1), alpha, [0.75, 0.3, 1.0, 2.0], bias)


def test_all_zero_windows_without_bias_give_nan(target: str) -> None:
    y = run(make("IntraChannelLRN", 4, kernel_shape=[3, 3], bias=0.0), np.zeros((1, 1, 4, 9), np.float32))
    assert np.isnan(y).all()


@pytest.mark.parametrize("window", [3, 31, 301])
def test_sums_do_not_drift(window: int) -> None:
    rng = np.random.default_rng(0)
    x = (10.0 ** rng.uniform(-15, 15, (1, 1, 1000, 1000)) * rng.choice([-1, 1], (1, 1, 1000, 1000))).astype(np.float32)
    x[0, 0, :500, :500] *= np.float32(1e-12)  # small neighbours of large values
    check("IntraChannelLRN", x, (window, window), 1.0, 0.75, 1.0, threads=2)


def test_threads_agree_bit_for_bit(target: str) -> None:
    for op, window, shape in (
        ("IntraChannelLRN", {"kernel_shape": [5, 5]}, (1, 1, 700, 700)),
        ("IntraChannelLRN", {"kernel_shape": [5, 5]}, (4, 30, 40, 40)),
        ("InterChannelLRN", {"size": 5}, (2, 64, 50, 50)),
        ("IntraChannelLRN", {"kernel_shape": [5]}, (2, 1, 300000)),
    ):
        model = make(op, len(shape), **window)
        x = normal(shape)
        np.testing.assert_array_equal(run(model, x, 1), run(model, x, 3))


def test_wide_rows_are_cut_into_blocks(target: str) -> None:
    check("IntraChannelLRN", normal((1, 2, 3, 9001)), (3, 31), 1.0, 0.75, 1.0)
    check("IntraChannelLRN", normal((1, 2, 9001)), (31,), 1.0, 0.75, 1.0)


def test_large_planes_are_cut_into_blocks(target: str) -> None:
    check("IntraChannelLRN", normal((1, 1, 300, 700)), (31, 31), 1.0, 0.75, 1.0)
    check("InterChannelLRN", normal((1, 100, 61, 57)), (31,), 1.0, 0.75, 1.0)
    check("IntraChannelLRN", normal((1, 1, 20, 90, 100)), (3, 5, 3), 1.0, 0.75, 1.0)


def test_sessions_run_at_the_same_time() -> None:
    from concurrent.futures import ThreadPoolExecutor

    model = make("IntraChannelLRN", 4, kernel_shape=[5, 5])
    x = normal((2, 16, 60, 60))
    shared = session(model, threads=2)
    wanted = shared.run(None, {"X": x})[0]
    with ThreadPoolExecutor(4) as pool:
        for y in pool.map(lambda _: shared.run(None, {"X": x})[0], range(24)):
            np.testing.assert_array_equal(y, wanted)


def test_agrees_with_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = normal((2, 24, 13, 17))
    wanted = torch.nn.LocalResponseNorm(5, alpha=0.3, beta=0.75, k=2.0)(torch.from_numpy(x).double()).numpy()
    alpha = float(np.float32(0.3))
    y = run(make("InterChannelLRN", 4, size=5, alpha=alpha, beta=0.75, bias=2.0), x)
    np.testing.assert_allclose(y, wanted, rtol=1e-6)


@pytest.mark.parametrize(("kind", "window"), [("inter", 5), ("inter", 1), ("intra", 3), ("intra", 9)])
def test_agrees_with_openvino(kind: str, window: int) -> None:
    """On odd windows the definitions agree."""
    ov = pytest.importorskip("openvino")
    opset = pytest.importorskip("openvino.opset13")
    x = normal((2, 24, 13, 17))
    alpha = float(np.float32(0.3))
    data = opset.parameter(list(x.shape), np.float32)
    node = opset.lrn(data, [1] if kind == "inter" else [2, 3], alpha, 0.75, 2.0, window)
    compiled = ov.compile_model(ov.Model([node], [data]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    wanted = compiled([x])[0]
    attributes = {"size": window} if kind == "inter" else {"kernel_shape": [window, window]}
    op = "InterChannelLRN" if kind == "inter" else "IntraChannelLRN"
    y = run(make(op, 4, alpha=alpha, beta=0.75, bias=2.0, **attributes), x)
    np.testing.assert_allclose(y, wanted, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "op"), [((0, 2**31, 2**31, 4), "IntraChannelLRN"), ((2**32, 0, 2**31), "InterChannelLRN")]
)
def test_sizes_beyond_every_memory_are_refused_or_empty(shape: tuple[int, ...], op: str) -> None:
    """Whoever refuses first, nothing wraps and nothing is written."""
    attributes = {"kernel_shape": [3, 3]} if op == "IntraChannelLRN" else {"size": 3}
    runner = session(make(op, len(shape), **attributes))
    binding = runner.io_binding()
    nothing = np.full(1, 7, np.float32)
    try:
        binding.bind_input("X", "cpu", 0, 1, shape, nothing.ctypes.data)
        binding.bind_output("Y", "cpu")
        runner.run_with_iobinding(binding)
    except Exception as error:
        assert str(error)
    else:
        assert binding.copy_outputs_to_cpu()[0].size == 0
    assert nothing[0] == 7


def test_the_runtime_knows_the_shape_of_the_result() -> None:
    model = make("IntraChannelLRN", 4, kernel_shape=[3, 3])
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 2, 3, 4), strict=True):
        dim.dim_value = size
    assert session(model).get_outputs()[0].shape == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("op", "rank", "attributes", "reason"),
    [
        ("IntraChannelLRN", 4, {"kernel_shape": [3]}, "rank 3"),
        ("IntraChannelLRN", 4, {"kernel_shape": [3, 0]}, "at least 1"),
        ("IntraChannelLRN", 4, {}, "kernel_shape"),
        ("IntraChannelLRN", 6, {"kernel_shape": [3, 3, 3, 3]}, "1, 2 or 3 entries"),
        ("IntraChannelLRN", 4, {"kernel_shape": [3, 3], "alpha": 1}, "alpha must be a float"),
        ("IntraChannelLRN", 4, {"kernel_shape": [3, 3], "beta": float("nan")}, "beta must be finite"),
        ("InterChannelLRN", 4, {"size": 0}, "at least 1"),
        ("InterChannelLRN", 4, {"size": [3]}, "size"),
        ("InterChannelLRN", 1, {"size": 3}, "channel axis"),
    ],
)
def test_the_library_itself_refuses_wrong_nodes(
    op: str, rank: int, attributes: dict[str, object], reason: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also in a runtime that is used without onnxnorm's own checks."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(str(find_library()))
    with pytest.raises(Exception, match=reason) as refusal:
        onnxruntime.InferenceSession(make(op, rank, **attributes).SerializeToString(), options)
    assert f"{op} node 'node'" in str(refusal.value)


def test_a_rank_known_only_at_run_time_is_refused_there() -> None:
    model = make("IntraChannelLRN", 4, kernel_shape=[3, 3])
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    runner = session(model)
    with pytest.raises(Exception, match=r"IntraChannelLRN node 'node'.*rank 4"):
        runner.run(None, {"X": np.zeros((2, 3, 4), np.float32)})


def test_an_instruction_set_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXNORM_ISA", "abacus")
    with pytest.raises(Exception, match=r"ONNXNORM_ISA is 'abacus'.*baseline"):
        session(make("InterChannelLRN", 4, size=3))

"""The algebra of convolutions against PyTorch in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from onnxnorm.linear import convolution as convolution_module
from onnxnorm.linear.axis import Axis, TransposedAxis
from onnxnorm.linear.channels import group_of
from onnxnorm.linear.convolution import Convolution

torch = pytest.importorskip("torch")

EXAMPLES = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
EXTENTS = (9, 10)


@pytest.fixture(autouse=True, scope="module")
def _a_few_rows_at_a_time() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution_module, "_BLOCK", 40)
        yield


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    # Pictures this small are slower on several threads.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(convolution: Convolution, x: Any) -> Any:
    numbers, blocks = zip(*convolution.blocks(), strict=True)
    assert np.array_equal(np.concatenate(numbers), np.arange(convolution.outputs))
    weight, bias = torch.from_numpy(np.concatenate(blocks)), torch.from_numpy(np.array(convolution.bias))
    axes = convolution.axes
    assert weight.shape == (convolution.outputs, convolution.inputs // convolution.group, *convolution.taps)
    if not axes:
        return torch.nn.functional.linear(x, weight, bias)
    strides, dilations = [axis.stride for axis in axes], [axis.dilation for axis in axes]
    if convolution.transposed:
        assert all(isinstance(axis, TransposedAxis) and axis.begin == axis.end for axis in axes)
        group = convolution.group
        grouped = weight.reshape(group, -1, *weight.shape[1:]).swapaxes(1, 2)
        return torch.nn.functional.conv_transpose2d(
            x, grouped.reshape(convolution.inputs, -1, *convolution.taps), bias, strides,
            [axis.begin for axis in axes], [axis.extra for axis in axes], group, dilations,
        )  # fmt: skip
    pads = [side for axis in reversed(axes) for side in (axis.begin, axis.end)]
    padded = torch.nn.functional.pad(x, pads)
    return torch.nn.functional.conv2d(padded, weight, bias, strides, 0, dilations, convolution.group)


@st.composite
def convolutions(draw: Any, inputs: int, outputs: int | None = None, *, stride: int | None = None) -> Convolution:
    group = draw(st.sampled_from([g for g in (1, 2, 3, 6) if inputs % g == 0]))
    count = outputs or group * draw(st.sampled_from([1, 2, 6 // group]))
    assume(count % group == 0)
    axes = []
    for _ in EXTENTS:
        kernel, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        step = stride or draw(st.integers(1, 2))
        pads = draw(st.sampled_from([(0, 0), (0, 0), ((kernel - 1) * dilation // 2,) * 2, (1, 0)]))
        axes.append(Axis(kernel, step, dilation, *pads))
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    weight = random.normal(size=(count, inputs // group, *(axis.kernel for axis in axes)))
    bias = random.normal(size=count) if draw(st.booleans()) else None
    return Convolution.of(weight, bias, group, tuple(axes))


def picture(channels: int = 6) -> Any:
    return torch.from_numpy(np.random.default_rng(3).normal(size=(2, channels, *EXTENTS)))


def same(a: Any, b: Any) -> None:
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@EXAMPLES
@given(convolutions(6, stride=1), st.data())
def test_composition(first: Convolution, data: Any) -> None:
    second = data.draw(convolutions(first.outputs))
    whole = first.then(second, data.draw(st.sampled_from([EXTENTS, (None, None)])))
    padded = any(axis.pads for axis in second.axes)
    if first.biased and padded:
        assert whole is None
    assume(whole is not None)
    assert whole is not None
    same(run(whole, picture()), run(second, run(first, picture())))


@EXAMPLES
@given(st.data(), st.sampled_from([1.0, -1.0]))
def test_sum_rows_and_stack(data: Any, sign: float) -> None:
    stride = data.draw(st.integers(1, 2))
    first = data.draw(convolutions(6, 6, stride=stride))
    second = data.draw(convolutions(6, 6, stride=stride))
    x = picture()
    parts = run(first, x), run(second, x)
    whole, stacked = first.plus(second, sign, EXTENTS), first.stacked(second, EXTENTS)
    assert (whole is not None) == (stacked is not None) == (parts[0].shape == parts[1].shape)
    assume(whole is not None)
    assert whole is not None and stacked is not None
    same(run(whole, x), parts[0] + sign * parts[1])
    same(run(stacked, x), torch.cat(parts, 1))
    index = np.array(data.draw(st.lists(st.integers(0, 11), min_size=1, max_size=8)))
    same(run(stacked.rows(index), x), torch.cat(parts, 1)[:, index])
    same(run(whole.scaled(-2.5), x), -2.5 * run(whole, x))


def test_transposed_convolutions_add_up_and_take_pointwise_ones_along() -> None:
    random = np.random.default_rng(5)

    def made(kernel: int, pad: int, extra: int) -> Convolution:
        axes = (TransposedAxis(kernel, 2, 1, pad, pad, extra),) * 2
        return Convolution.of(random.normal(size=(4, 3, kernel, kernel)), random.normal(size=4), 2, axes)

    wide, narrow, x = made(4, 1, 0), made(2, 0, 0), picture()
    whole = wide.plus(narrow, 1.0, EXTENTS)
    assert whole is not None and whole.group == 2
    same(run(whole, x), run(wide, x) + run(narrow, x))
    assert wide.plus(made(2, 0, 1), 1.0, EXTENTS) is None
    point = Convolution.of(random.normal(size=(6, 6, 1, 1)), None, 1, (Axis(), Axis()))
    before = point.then(wide, EXTENTS)
    assert before is not None
    same(run(before, x), run(wide, run(point, x)))
    biased = Convolution.of(random.normal(size=(6, 6, 1, 1)), np.ones(6), 1, (Axis(), Axis()))
    assert biased.then(wide, EXTENTS) is None
    mixing = Convolution.of(random.normal(size=(5, 4, 1, 1)), np.ones(5), 1, (Axis(), Axis()))
    after = wide.then(mixing, EXTENTS)
    assert after is not None
    same(run(after, x), run(mixing, run(wide, x)))


def test_products_are_convolutions_without_axes() -> None:
    random = np.random.default_rng(6)
    a = Convolution.of(random.normal(size=(2, 6)), random.normal(size=2), 1, ())
    b = Convolution.of(random.normal(size=(5, 2)), random.normal(size=5), 1, ())
    direct = Convolution.of(random.normal(size=(5, 6)), None, 1, ())
    low_rank = a.then(b, ())
    assert low_rank is not None
    whole = direct.plus(low_rank, 1.0, ())
    assert whole is not None
    x = torch.from_numpy(random.normal(size=(3, 7, 6)))
    same(run(whole, x), run(direct, x) + run(b, run(a, x)))


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_groups_are_found_again(inputs: int, outputs: int, data: Any) -> None:
    common = math.gcd(inputs, outputs)
    group = data.draw(st.sampled_from([g for g in range(1, common + 1) if common % g == 0]))
    made = Convolution.of(np.ones((outputs, inputs // group)), None, group, ())
    assert made.group == group_of(made.reach, inputs) == group

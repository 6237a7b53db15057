"""The laws of the algebra of channel affines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxnorm.affine.channel import ChannelAffine, Gauge
from testing.builder import QUICK

SHAPES = st.lists(st.sampled_from([1, 1, 2, 3]), min_size=1, max_size=4).map(tuple)
FULL = (2, 3, 2, 3)


@st.composite
def affines(draw: Any, rank: int = 4, *, zeros: bool = True) -> ChannelAffine:
    """Affines of a value of shape FULL, varying along any axes; binary fractions, so that laws hold exactly."""
    shape = tuple(extent if draw(st.booleans()) else 1 for extent in FULL[:rank])
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    scale = random.integers(-8, 9, shape) / 4.0
    if not zeros:
        scale[scale == 0.0] = 0.5
    return ChannelAffine.of(scale, random.integers(-8, 9, shape) / 4.0, rank)


def applied(affine: ChannelAffine, x: np.ndarray) -> np.ndarray:
    return affine.scale * x + affine.shift


@QUICK
@given(affines(), affines(), affines())
def test_composition_is_associative_and_applies_the_inner_one_first(
    a: ChannelAffine, b: ChannelAffine, c: ChannelAffine
) -> None:
    x = np.random.default_rng(0).integers(-4, 5, FULL) / 2.0
    assert a.then(b).then(c).same_as(a.then(b.then(c)))
    assert np.array_equal(applied(a.then(b), x), applied(b, applied(a, x)))


@QUICK
@given(affines())
def test_the_identity_is_neutral_on_both_sides(a: ChannelAffine) -> None:
    identity = ChannelAffine.identity(4)
    assert identity.is_identity
    assert identity.then(a).same_as(a)
    assert a.then(identity).same_as(a)


@QUICK
@given(affines(zeros=False))
def test_the_inverse_undoes_on_both_sides(a: ChannelAffine) -> None:
    inverse = a.inverse()
    assert inverse is not None
    x = np.random.default_rng(0).normal(size=FULL)
    assert np.allclose(applied(inverse, applied(a, x)), x, rtol=1e-12, atol=1e-12)
    assert np.allclose(applied(a, applied(inverse, x)), x, rtol=1e-12, atol=1e-12)


@QUICK
@given(affines(), affines())
def test_the_inverse_of_a_composition_composes_the_inverses_the_other_way_round(
    a: ChannelAffine, b: ChannelAffine
) -> None:
    inverses = a.inverse(), b.inverse()
    both = a.then(b).inverse()
    assert (both is None) == (inverses[0] is None or inverses[1] is None)
    if both is not None and inverses[0] is not None and inverses[1] is not None:
        composed = inverses[1].then(inverses[0])
        assert np.allclose(both.scale, composed.scale, rtol=1e-12)
        assert np.allclose(both.shift, composed.shift, rtol=1e-12, atol=1e-12)


def test_a_zero_scale_has_no_inverse_nor_has_one_whose_reciprocal_overflows() -> None:
    assert ChannelAffine.along(1, [1.0, 0.0], [0.0, 0.0], 3).inverse() is None
    assert ChannelAffine.along(1, [1.0, 1e-310], [0.0, 0.0], 3).inverse() is None
    assert ChannelAffine.along(1, [1.0, 1e-300], [0.0, 0.0], 3).inverse() is not None


@QUICK
@given(SHAPES, SHAPES, st.integers(0, 2**16))
def test_of_is_canonical(first: tuple[int, ...], second: tuple[int, ...], seed: int) -> None:
    """Extent 1 exactly on the axes along which neither array varies, whatever shapes the arrays came in."""
    random = np.random.default_rng(seed)
    try:
        shape = np.broadcast_shapes(first, second)
    except ValueError:
        return
    scale, shift = random.integers(0, 3, first) / 2.0, random.integers(0, 2, second) / 2.0
    affine = ChannelAffine.of(scale, shift, 4)
    assert affine.scale.shape == affine.shift.shape
    assert affine.rank == 4
    full = (1,) * (4 - len(shape)) + shape
    assert np.array_equal(np.broadcast_to(affine.scale, full), np.broadcast_to(scale, full))
    assert np.array_equal(np.broadcast_to(affine.shift, full), np.broadcast_to(shift, full))
    for axis in range(4):
        both = np.stack([np.broadcast_to(scale, full), np.broadcast_to(shift, full)])
        varies = not np.array_equal(both, np.broadcast_to(both.take([0], axis + 1), both.shape))
        assert (axis in affine.axes) == varies


def test_of_refuses_constants_that_would_raise_the_rank() -> None:
    with pytest.raises(ValueError, match="rank"):
        ChannelAffine.of(np.ones((1, 1, 3)), 0.0, 2)


def test_along_puts_vectors_on_one_axis() -> None:
    affine = ChannelAffine.along(1, [1.0, 2.0, 3.0], [0.0, 0.5, 0.0], 3)
    assert affine.axes == (1,)
    assert affine.scale.shape == (1, 3, 1)
    vectors = affine.along_axis(1, 3)
    assert vectors is not None
    assert vectors[0].tolist() == [1.0, 2.0, 3.0]
    assert vectors[1].tolist() == [0.0, 0.5, 0.0]
    assert affine.along_axis(2, 3) is None


def test_along_axis_spreads_a_scalar_affine() -> None:
    vectors = ChannelAffine.of(2.0, 1.0, 3).along_axis(2, 4)
    assert vectors is not None
    assert vectors[0].tolist() == [2.0] * 4
    assert vectors[1].tolist() == [1.0] * 4


@QUICK
@given(affines(), st.permutations(range(4)))
def test_map_by_a_transpose_is_the_affine_of_the_transposed_value(a: ChannelAffine, order: list[int]) -> None:
    x = np.random.default_rng(1).normal(size=FULL)
    moved = a.map(lambda array: np.transpose(array, order))
    assert np.array_equal(applied(moved, x.transpose(order)), applied(a, x).transpose(order))


@QUICK
@given(affines(), affines(), st.permutations(range(4)))
def test_map_is_a_homomorphism(a: ChannelAffine, b: ChannelAffine, order: list[int]) -> None:
    def change(array: np.ndarray) -> np.ndarray:
        return np.transpose(array, order)

    assert a.then(b).map(change).same_as(a.map(change).then(b.map(change)))


def test_map_may_change_the_rank() -> None:
    affine = ChannelAffine.along(1, [1.0, 2.0], [3.0, 4.0], 2)
    assert affine.map(lambda array: array[:, :, None]).rank == 3


@QUICK
@given(affines())
def test_what_an_affine_is_called(a: ChannelAffine) -> None:
    assert a.scales == bool(np.any(a.scale != 1.0))
    assert a.shifts == bool(np.any(a.shift != 0.0))
    assert str(a) in {"identity", "scale", "shift", "scale and shift"}
    assert (str(a) == "identity") == a.is_identity


def test_infinite_and_undefined_constants_are_seen() -> None:
    assert not ChannelAffine.of(np.inf, 0.0, 2).is_finite
    assert not ChannelAffine.of(1.0, np.nan, 2).is_finite
    assert not ChannelAffine.of(np.nan, 0.0, 2).is_identity


@QUICK
@given(affines())
def test_a_gauge_has_the_direction_that_exists(a: ChannelAffine) -> None:
    there, back = Gauge.new(a), Gauge.old(a)
    assert there.to_new is a
    assert back.to_old is a
    assert (there.to_old is None) == (back.to_new is None) == bool(np.any(a.scale == 0.0))
    if there.to_old is not None and there.to_new is not None:
        assert np.allclose(there.to_new.then(there.to_old).scale, 1.0)
        assert np.allclose(there.to_new.then(there.to_old).shift, 0.0, atol=1e-12)


@QUICK
@given(affines())
def test_gauges_agree_with_themselves_and_with_no_other(a: ChannelAffine) -> None:
    assert Gauge.new(a).same_as(Gauge.new(a))
    other = ChannelAffine.of(a.scale, a.shift + 1.0, 4)
    assert not Gauge.new(a).same_as(Gauge.new(other))
    assert not Gauge.old(a).same_as(Gauge.old(other))


def test_a_gauge_varies_wherever_one_of_its_directions_does() -> None:
    """Two scales one rounding apart may have the same reciprocal, so the two directions may differ in this."""
    scales = np.array([1.9, np.nextafter(1.9, 2.0), 1.9])
    assert np.unique(1.0 / scales).size == 1, "the case needs scales of one reciprocal"
    for gauge in (
        Gauge.new(ChannelAffine.along(1, scales, np.zeros(3), 2)),
        Gauge.old(ChannelAffine.along(1, scales, np.zeros(3), 2)),
    ):
        assert gauge.axes == (1,)


def test_signs_of_a_gauge() -> None:
    assert Gauge.new(ChannelAffine.along(1, [1.0, 0.0], [0.0, 0.0], 2)).non_negative
    assert not Gauge.new(ChannelAffine.along(1, [1.0, 0.0], [0.0, 0.0], 2)).positive
    assert not Gauge.new(ChannelAffine.along(1, [1.0, -1.0], [0.0, 0.0], 2)).non_negative
    assert Gauge.old(ChannelAffine.along(1, [1.0, 2.0], [0.0, 0.0], 2)).positive

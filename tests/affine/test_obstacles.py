"""What searches remember: an obstacle counts for a gauge only if the gauge has what was in the way, all over."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.interface import Cause
from onnxnorm.affine.obstacles import Obstacle, Obstacles

A, B = ir.Value(name="a"), ir.Value(name="b")
OBSTACLE = Obstacle("node stops", B, 3)


def gauge(scale: list[float], shift: list[float]) -> Gauge:
    return Gauge.new(ChannelAffine.along(1, scale, shift, 3))


@pytest.mark.parametrize(
    ("cause", "noted", "asked", "known"),
    [
        (Cause.SHIFT, ([1, 1], [0, 2]), ([3, 1], [0, -1]), True),
        (Cause.SHIFT, ([1, 1], [0, 2]), ([3, 1], [5, -1]), True),
        (Cause.SHIFT, ([1, 1], [0, 2]), ([3, 1], [5, 0]), False),
        (Cause.SHIFT, ([1, 1], [0, 2]), ([-1, 2], [0, 0]), False),
        (Cause.NEGATIVE, ([-1, 2], [1, 0]), ([-3, -1], [0, 0]), True),
        (Cause.NEGATIVE, ([-1, 2], [1, 0]), ([3, -1], [1, 0]), False),
        (Cause.ANYTHING, ([2, 1], [0, 0]), ([1, 1], [1, 0]), True),
        (Cause.ANYTHING, ([2, 1], [0, 0]), ([1, 2], [0, 1]), False),
        (Cause.ANYTHING, ([2, 1], [0, 0]), ([1 + 1e-15, 2], [0, 1]), False),
        # Another extent contradicts the value: nothing is known of it. One that does not vary agrees with every extent.
        (Cause.SHIFT, ([1, 1], [1, 2]), ([1, 1, 1], [1, 2, 3]), False),
        (Cause.SHIFT, ([1, 1], [1, 2]), ([1], [4]), True),
    ],
)
def test_an_obstacle_is_met_by_the_gauges_that_have_its_cause(
    cause: Cause, noted: tuple[list[float], list[float]], asked: tuple[list[float], list[float]], known: bool
) -> None:
    obstacles = Obstacles()
    obstacles.note([(A, gauge(*noted))], cause, OBSTACLE)
    assert obstacles.of(A, gauge(*asked)) is (OBSTACLE if known else None)
    assert obstacles.of(B, gauge(*asked)) is None


def test_every_value_of_the_chain_leads_to_the_obstacle_as_far_as_it_has_the_cause() -> None:
    obstacles, last = Obstacles(), ir.Value(name="c")
    shifted, scaled = gauge([1, 1], [0, 2]), gauge([2, 2], [0, 0])
    obstacles.note([(A, shifted), (B, scaled), (last, shifted)], Cause.SHIFT, OBSTACLE)
    assert obstacles.of(A, shifted) is OBSTACLE
    # A shift that is gone on the way is not what was in the way: nothing from there on is noted.
    assert obstacles.of(B, shifted) is None and obstacles.of(last, shifted) is None


def test_the_first_of_several_obstacles_is_told_and_no_more_than_four_are_kept() -> None:
    known = Obstacles()
    channels = [gauge([1] * 6, list(np.eye(6)[index])) for index in range(6)]
    obstacles = [Obstacle(str(index), B, index) for index in range(6)]
    for each, obstacle in zip(channels, obstacles, strict=True):
        known.note([(A, each)], Cause.SHIFT, obstacle)
    assert [known.of(A, each) for each in channels] == [*obstacles[:4], None, None]
    assert known.of(A, gauge([1] * 6, [0, 1, 1, 1, 1, 1])) is obstacles[1]

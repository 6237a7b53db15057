"""Tests of inputs at which onnxruntime ends the process, where others are taken."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial

import numpy as np
import onnx
import pytest

from onnxnorm.process.child import BrokenOffError, in_child
from onnxnorm.runtime.random_samples import Draw, Ways
from onnxnorm.verification.survivable import Survivable
from onnxnorm.verification.verify import verify

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a child of this process draws")


def _draws(count: int) -> Iterator[Draw]:
    for number in range(count):
        yield Draw({"x": np.array(number)}, False)


def test_what_a_child_drew_when_it_ended_is_not_drawn_again() -> None:
    survivable = Survivable([Ways(partial(_draws, 5))])

    def work() -> bytes:
        for draw in survivable.ways()[0].draws():
            if draw.feeds["x"] in (0, 2):
                os.abort()
            if draw.feeds["x"] == 3:
                return b"three"
        return b"none"

    for _ in range(2):
        with pytest.raises(BrokenOffError):
            in_child(work)
        survivable.drop_last()
    assert in_child(work) == b"three"
    assert [int(draw.feeds["x"]) for draw in survivable.ways()[0].draws()] == [1, 3, 4]


def test_a_model_that_ends_the_process_at_short_inputs_is_verified_at_longer_ones() -> None:
    """A transform of a length of 0, which onnxruntime 1.32 divides by, wherever there are fewer than 400 samples."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        frames (float[1, L, 1] x) => (float[1, K, 2] y)
        <int64[1] first = {1}, int64[1] last = {2}, int64[1] step = {400}>
        {
            shape = Shape (x)
            length = Slice (shape, first, last)
            count = Div (length, step)
            size = Squeeze (count)
            y = DFT <axis = 1> (x, size)
        }"""
    )
    report = verify(model, model)
    assert report.passed
    assert all(shapes["x"][1] >= 400 for shapes in report.samples)

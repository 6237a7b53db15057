"""Tests of the skeleton of a rule, in the form that a rule's own tests have: pairs, and random graphs around it."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onnxnorm.affine.rules as rules
from testing.builder import QUICK, Builder, affines, folded
from tests.affine.around import Surroundings, check_around
from tests.affine.pairs import MIXED, SHIFT, linear

SKELETON = Path(__file__).resolve().parents[2] / "docs" / "skeletons" / "rule.py"


@pytest.fixture(scope="module", autouse=True)
def rule() -> Iterator[None]:
    """Enter the rule in the table, as the line in `onnxnorm/affine/rules/__init__.py` would."""
    assert rules.rule_for(ir.Node("", "CenterCropPad", [])) is None
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = runpy.run_path(str(SKELETON))["center_crop_pad"]
        monkeypatch.setitem(rules._TABLE, "CenterCropPad", made)  # type: ignore[index]
        yield


@pytest.mark.parametrize(
    ("shift", "axis", "extent", "left"),
    [
        pytest.param(None, 2, 7, 0, id="a scale passes zeros"),
        pytest.param(SHIFT, 2, 7, 1, id="a shift does not"),
        pytest.param(None, 1, 3, 1, id="the axis of the affine is cut"),
    ],
)
def test_pairs(shift: tuple[float, ...] | None, axis: int, extent: int, left: int) -> None:
    b = Builder()
    y = b.node("CenterCropPad", b.affine(b.input((2, 4, 5)), MIXED, shift), b.ints(extent), axes=[axis])
    model = b.model(linear(b, y, 4 if axis != 1 else extent, 3))
    assert affines(folded(model).model) == left


def _center_crop_pad(net: Surroundings, x: str) -> str:
    shape = list(net.shape(x))
    axis = net.draw(st.integers(0, len(shape) - 1))
    shape[axis] = net.draw(st.integers(1, shape[axis] + 2))
    given_axes = {"axes": [axis - net.pick(0, len(shape))]} if net.coin() else {}
    extents = [shape[axis]] if given_axes else shape
    return net.node("CenterCropPad", x, net.constant(np.array(extents)), **given_axes)


@QUICK
@given(data=st.data())
def test_around(data: st.DataObject) -> None:
    check_around(data.draw, _center_crop_pad, ranks=(2, 3, 4))

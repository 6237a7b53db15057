"""Tests of the skeleton of a pass, in the form that a pass's own tests have: it acts, and its twin declines."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

import onnxnorm.passes as passes
from testing.builder import Builder, count, folded

SKELETON = Path(__file__).resolve().parents[2] / "docs" / "skeletons" / "transformation.py"
NAME = "drop_double_not"


@pytest.fixture(scope="module", autouse=True)
def entry() -> Iterator[None]:
    """Enter the pass in the table, as the line in `onnxnorm/passes/__init__.py` would."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = runpy.run_path(str(SKELETON))["DropDoubleNot"]
        monkeypatch.setitem(passes.PASSES, NAME, lambda journal, settings: made(journal))  # type: ignore[index]
        yield


def chain(length: int, *, shown: int | None = None) -> onnx.ModelProto:
    """Build Not behind Not; `shown` is the place of one whose result is an output of the model too."""
    b = Builder()
    x = b.input((2, 3), element=TensorProto.BOOL)
    values = [x]
    for _ in range(length):
        values.append(b.node("Not", values[-1]))
    outputs = [values[-1]] if shown is None else [values[-1], values[shown]]
    b.output(*outputs, shape=(2, 3), element=TensorProto.BOOL)
    return b.model()


@pytest.mark.parametrize(
    ("length", "shown", "left"), [(2, None, 0), (3, None, 1), (4, None, 0), (1, None, 1), (2, 1, 2)]
)
def test_pairs_go(length: int, shown: int | None, left: int) -> None:
    model = chain(length, shown=shown)
    result = folded(model, whole=True, passes=(NAME,))
    assert isinstance(result.model, onnx.ModelProto)
    assert count(result.model, "Not") == left
    assert len(result.rewrites) == length - left

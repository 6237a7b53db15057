"""Tests that the glossary of the affine engine has its terms, and that its picture shows what the engine does."""

from __future__ import annotations

import re

import numpy as np
import pytest

import onnxnorm.affine
from testing.builder import Builder, folded

GLOSSARY = onnxnorm.affine.__doc__ or ""


def test_each_term_is_explained_once() -> None:
    terms = re.findall(r"^(\w+): ", GLOSSARY, re.MULTILINE)
    assert sorted(terms) == ["affine", "aside", "edit", "gauge", "party", "region", "stuck", "toll"]


@pytest.mark.parametrize(("enlarged", "after"), [(4.0, ["Conv", "Mul", "Sigmoid", "Resize"]), (1.0, None)])
def test_the_picture(enlarged: float, after: list[str] | None) -> None:
    """A Resize that enlarges makes the Mul the cheaper node; one that keeps the size does not."""
    b = Builder()
    v = b.conv(b.input((1, 3, 8, 8)), 3, 4, (3, 3), bias=True)
    w = b.node("Resize", v, "", b.constant(np.array([1, 1, enlarged, enlarged]), dtype=np.float32), mode="nearest")
    model = b.model(b.batch_norm(w, 4, "positive", shift=False), b.node("Sigmoid", v))
    before = [node.op_type for node in model.graph.node]
    result = [node.op_type for node in folded(model).model.graph.node]
    assert sorted(result) == sorted(after or before)

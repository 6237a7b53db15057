"""`inspect` gives each BatchNormalization one line: absorbed into which node through which path, or left and why."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import onnx
import pytest

import onnxnorm
from fuzz.networks import nodes_for
from onnxnorm.journal import Code
from onnxnorm.optimizer.inspect import Fate
from testing.builder import Builder, count
from testing.networks import random_network
from tests.affine.pairs import MIXED, POSITIVE, SHIFT, Pair, cases, linear


def _records(model: onnx.ModelProto) -> list[onnxnorm.NormRecord]:
    return [record for record in onnxnorm.inspect(model) if record.op_type == "BatchNormalization"]


def _names(model: onnx.ModelProto) -> set[str]:
    """The names of all nodes and values, those of subgraphs and functions too."""
    found: set[str] = set()

    def walk(nodes: list[onnx.NodeProto]) -> None:
        for node in nodes:
            found.update((node.name, *node.output))
            for attribute in node.attribute:
                walk(list(attribute.g.node))

    walk(list(model.graph.node))
    found.update(value.name for value in model.graph.input)
    for function in model.functions:
        walk(list(function.node))
    return found


def _check(model: onnx.ModelProto) -> None:
    records = _records(model)
    # A function that is called twice has each of its norms twice, and one that is written out counts too.
    assert len(records) >= count(model, "BatchNormalization")
    assert len({record.where for record in records}) == len(records)
    result = onnxnorm.optimize(model, verify=False)
    names = _names(model) | _names(result.model)
    for record in records:
        assert record.reason and "\n" not in record.reason, record
        if record.fate is Fate.ABSORBED and "nothing reads" not in record.reason:
            # It names what a reader can find, in the model as it was or as it is.
            mentioned = re.findall(r"'([^']+)'", record.reason)
            assert mentioned or "identity" in record.reason, record
            assert set(mentioned) <= names, record
        elif record.fate is Fate.LEFT:
            assert record.reason != "no pass that looks at it was run", record


@pytest.mark.parametrize("seed", range(8))
def test_every_norm_of_a_random_network_has_one_line(seed: int) -> None:
    _check(random_network(seed, min(nodes_for(seed), 60)))


_SOME = [pair for pair in cases() if pair.folds][::4] + [pair for pair in cases() if not pair.folds][::4]


@pytest.mark.parametrize("pair", _SOME, ids=lambda pair: f"{pair.operator} {'folds' if pair.folds else 'stays'}")
def test_every_norm_of_a_pair_has_one_line(pair: Pair) -> None:
    b = Builder(**pair.options)
    outputs = pair.build(b)
    _check(b.model(*([outputs] if isinstance(outputs, str) else outputs)))


def test_into_which_node() -> None:
    b = Builder()
    x = b.conv(b.input((2, 3, 5)), 3, 4, name="stem")
    model = b.model(b.node("Sigmoid", b.batch_norm(x, 4, name="norm")))
    (record,) = _records(model)
    assert (record.fate, record.node) == (Fate.ABSORBED, "norm")
    assert "into Conv 'stem'" in record.reason


def test_into_which_nodes_through_which_path() -> None:
    b = Builder()
    x = b.node("MaxPool", b.affine(b.input((2, 4, 8)), POSITIVE, SHIFT), kernel_shape=[2], name="pool")
    outputs = [b.node("Sigmoid", b.conv(x, 4, 3, name=name)) for name in ("left", "right")]
    (record,) = _records(b.model(*outputs))
    assert record.fate is Fate.ABSORBED
    for words in ("into Conv 'left'", "Conv 'right'", "through MaxPool 'pool'"):
        assert words in record.reason


@pytest.mark.parametrize(
    ("obstacles", "build"),
    [
        (
            ("Tanh 'before'", "an output of the graph"),
            lambda b: b.affine(b.node("Tanh", b.input((2, 4, 5)), name="before"), MIXED, SHIFT),
        ),
        (("'x' is an input", "Sigmoid 'bend'"), lambda b: b.node("Sigmoid", _normed(b), name="bend")),
        (("'x' is an input", "Relu 'bend'"), lambda b: linear(b, b.node("Relu", _normed(b), name="bend"), 4, 3)),
        (("Add is left",), lambda b: b.node("Sigmoid", b.conv(_normed(b, "width"), 4, 3, (3,), pads=[1, 1]))),
    ],
)
def test_why_it_is_left(obstacles: tuple[str, ...], build: Callable[[Builder], str]) -> None:
    """The reason names an obstacle on one of its two sides."""
    b = Builder()
    (record,) = _records(b.model(build(b)))
    assert record.fate is (Fate.PARTLY if "is left" in record.reason else Fate.LEFT)
    assert record.code is not None and record.remedy is not None
    assert any(obstacle in record.reason for obstacle in obstacles), record.reason


def _normed(b: Builder, width: int | str = 5) -> str:
    return b.affine(b.input((2, 4, width)), MIXED, SHIFT)


def test_statistics_that_are_not_finite_are_named() -> None:
    b = Builder()
    x = b.conv(b.input((2, 3, 5)), 3, 4)
    (record,) = _records(b.model(b.node("Sigmoid", b.affine(x, (1.0, np.inf, 1.0, 1.0)))))
    assert record.fate is Fate.LEFT
    assert "infinite or undefined" in record.reason


def test_half_of_it_is_left() -> None:
    """The scale goes into the convolution, the shift stays before the bend."""
    b = Builder()
    x = b.affine(b.input((2, 4, 5)), POSITIVE, SHIFT)
    model = b.model(b.node("Sigmoid", b.conv(b.node("Relu", x), 4, 3, name="next")))
    (record,) = _records(model)
    assert record.fate is Fate.PARTLY and record.code in (Code.BENDS_AT_ZERO, Code.GRAPH_INPUT)
    assert "partly absorbed into Conv 'next'" in record.reason
    assert "Add is left" in record.reason

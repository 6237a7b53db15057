"""Tests of remedies: what is offered works, over random networks, and what does not is offered no more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import onnxnorm
from onnxnorm import cli
from onnxnorm.cli.normalizations import remedy_lines
from onnxnorm.io.model_source import ModelSource
from onnxnorm.journal import Code, Remedy
from onnxnorm.optimizer.records import Fate, NormRecord
from onnxnorm.optimizer.remedies import with_tried_remedies
from testing.builder import Builder
from testing.networks import random_network


def _obstructed(seed: int) -> onnx.ModelProto:
    """A random network; some values beside normalizations are outputs, and some weights are inputs."""
    random, model = np.random.default_rng(seed), random_network(seed, 30)
    typed = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    outputs = {value.name for value in model.graph.output}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    inputs = {value.name for value in model.graph.input}
    for node in model.graph.node:
        if node.op_type != "BatchNormalization":
            continue
        for name in (node.input[0], node.output[0]):
            if name in typed and name not in outputs and random.random() < 0.4:
                model.graph.output.append(typed[name])
                outputs.add(name)
        weight = constants.get(node.input[1])
        if weight is not None and weight.name not in inputs and random.random() < 0.2:
            value = helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims))
            model.graph.input.append(value)
            inputs.add(weight.name)
    return model


def _words(remedy: Remedy) -> Iterator[tuple[str, str]]:
    words = list(remedy.options)
    while words:
        word = words.pop(0)
        yield word, "" if word == "--freeze-inputs" else words.pop(0)


def _done(model: onnx.ModelProto, remedy: Remedy, before: Sequence[NormRecord] = ()) -> set[str]:
    """The normalizations that are gone when the remedy is carried out as a user would."""
    options: dict[str, Any] = {"freeze_inputs": False}
    for word, what in _words(remedy):
        if word == "--freeze-inputs":
            options["freeze_inputs"] = True
        elif word == "--opset":
            options["opset"] = int(what)
        elif word == "--fix-shape":
            name, _, dims = what.rpartition(":")
            shape = [int(each) if each.isdecimal() else each for each in dims.split(",")]
            options.setdefault("fix_shapes", {})[name] = shape
        else:
            assert word == "--max-growth"
            options["max_growth"] = float(what)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    if remedy.output:
        (output,) = [value for value in changed.graph.output if value.name == remedy.output]
        changed.graph.output.remove(output)
    records = onnxnorm.optimize(changed, verify=False, **options).normalizations
    gone = {record.where for record in records if record.fate not in (Fate.LEFT, Fate.PARTLY, Fate.NEW)}
    # A node that held what was left of others is not made any more.
    return gone | ({record.where for record in before if record.fate is Fate.NEW} - {each.where for each in records})


@pytest.mark.parametrize("seed", [3, 4, 12, 22])
def test_what_is_offered_works(seed: int) -> None:
    model = _obstructed(seed)
    untried = onnxnorm.optimize(model, verify=False, freeze_inputs=False).normalizations
    tried = with_tried_remedies(ModelSource(model), untried, {"freeze_inputs": False}, seconds=600)
    outputs = {value.name for value in model.graph.output}
    counted = 0
    for before, after in zip(untried, tried, strict=True):
        if before.remedy is None or after.remedy is None or not (before.remedy.options or before.remedy.output):
            continue
        assert before.remedy.output in outputs | {""}
        works = before.where in _done(model, before.remedy, untried)
        assert after.remedy.tried is works
        assert bool(after.remedy.options or after.remedy.output) == works
        counted += 1
    assert counted


@pytest.mark.parametrize("floors", [False, True])
@pytest.mark.parametrize("alone", [False, True])
def test_an_output_is_to_be_left_out_where_that_is_enough(floors: bool, alone: bool) -> None:
    """Behind a Conv whose result is an output: where nothing else is in the way, and there are other outputs."""
    b = Builder(dtype=np.float32)
    x = b.conv(b.input((1, 3, 6, 6)), 3, 4, (3, 3), name="conv", out="y0")
    x = b.node("Floor", x) if floors else x
    y = b.batch_norm(x, 4, name="norm")
    model = b.model(y) if alone else b.model("y0", b.node("Sigmoid", y))
    (record,) = onnxnorm.optimize(model, verify=False).normalizations
    if alone and not floors:
        assert record.fate is Fate.ABSORBED
        return
    assert record.fate is Fate.LEFT and record.remedy is not None
    if alone:
        assert record.code is Code.GRAPH_OUTPUT
        assert (record.remedy.output, record.remedy.text) == (
            "", "put a linear layer between the normalization and the output"
        )  # fmt: skip
    else:
        assert record.remedy.output == ("" if floors else "y0")


@pytest.mark.parametrize("floors", [False, True])
def test_weights_are_to_be_frozen_where_that_is_enough(floors: bool) -> None:
    """Its scale is an input too; a Floor on either side lets nothing pass whatever the scale is."""
    b = Builder(dtype=np.float32)
    x = b.conv(b.input((1, 3, 6, 6)), 3, 4, (3, 3))
    x = b.batch_norm(b.node("Floor", x, name="floor") if floors else x, 4, name="norm")
    model = b.model(b.node("Sigmoid", x, name="sigmoid"))
    scale = next(node for node in model.graph.node if node.name == "norm").input[1]
    model.graph.input.append(helper.make_tensor_value_info(scale, onnx.TensorProto.FLOAT, [4]))
    (record,) = onnxnorm.optimize(model, verify=False, freeze_inputs=False).normalizations
    assert record.code is Code.OVERRIDABLE_WEIGHT and record.remedy is not None
    (frozen,) = onnxnorm.optimize(model, verify=False, freeze_inputs=True).normalizations
    assert (frozen.fate is Fate.ABSORBED) is not floors
    if floors:
        assert not record.remedy.options and "Sigmoid 'sigmoid'" in record.remedy.text
        assert record.remedy.text.startswith("take initializers that are inputs too for constants; then ")
    else:
        assert record.remedy.options == ("--freeze-inputs",)


def test_the_growth_that_is_offered_does_for_all_that_it_is_offered_for() -> None:
    b = Builder(dtype=np.float32)
    outputs = []
    for number in range(2):
        weight = b.constant(b.normal(4, 256, 5, 5))
        first = b.node("Conv", b.input((1, 256, 6, 6), f"x{number}"), weight)
        second = b.node("Conv", b.input((1, 256, 6, 6), f"z{number}"), weight)
        outputs += [b.node("Sigmoid", b.batch_norm(first, 4, name=f"norm{number}")), b.node("Sigmoid", second)]
    model = b.model(*outputs)
    records = onnxnorm.optimize(model, verify=False).normalizations
    remedies = {record.remedy for record in records}
    assert {record.code for record in records} == {Code.WEIGHTS_GROW} and len(remedies) == 1
    (remedy,) = remedies
    assert remedy is not None and remedy.options[0] == "--max-growth"
    assert _done(model, remedy) == {"norm0", "norm1"}
    tried = with_tried_remedies(ModelSource(model), records, {})
    assert all(record.remedy is not None and record.remedy.tried for record in tried)
    less = onnxnorm.optimize(model, verify=False, max_growth=float(remedy.options[1]) - 0.02).normalizations
    assert {record.fate for record in less} == {Fate.ABSORBED, Fate.LEFT}


@pytest.mark.parametrize("seed", [5, 9, 22])
def test_what_the_commands_offer_works_and_is_the_same(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is said to help that does not, and what is carried out removes what it is offered against."""
    model, path = _obstructed(seed), str(tmp_path / "in.onnx")
    onnx.save(model, path)
    told = []
    for words in (
        ["inspect", path],
        ["optimize", path, str(tmp_path / "out.onnx"), "--no-verify", "--keep-overridable"],
    ):
        assert cli.main([*words, "--json"]) == 0
        told.append({each["node"]: each for each in json.loads(capsys.readouterr().out)["normalizations"]})
    assert {name: each["remedy"] for name, each in told[0].items()} == {
        name: each["remedy"] for name, each in told[1].items()
    }
    offered = {name: each["remedy"] for name, each in told[0].items() if each["remedy"]}
    untried = onnxnorm.optimize(model, verify=False, freeze_inputs=False).normalizations
    for name, each in offered.items():
        if each["options"] or each["output"]:
            assert each["tried"] is True
            assert name in _done(model, Remedy(each["text"], tuple(each["options"]), each["output"]), untried)


def test_tries_end_when_their_time_is_over_and_the_remedy_for_most_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two outputs are in the way, one of them of two normalizations; each look at the clock is six seconds later."""
    b = Builder(dtype=np.float32)
    x, ends = b.input((1, 3, 6, 6)), []
    for number in range(2):
        y = b.conv(x, 3, 4, (3, 3), out=f"y{number}")
        ends += [y, b.node("Sigmoid", b.batch_norm(y, 4, name=f"norm{number}"))]
    model = b.model(*ends)
    first, second = onnxnorm.optimize(model, verify=False).normalizations
    records = (first, second, replace(second, node="another"))
    for seconds, tried in ((0.0, set()), (8.0, {"y1"}), (float("inf"), {"y0", "y1"})):
        clock = SimpleNamespace(process_time=partial(next, iter(range(0, 10**6, 6))))
        monkeypatch.setattr("onnxnorm.optimizer.remedies.time", clock)
        found = with_tried_remedies(ModelSource(model), records, {}, took=1.0, seconds=seconds)
        assert {each.remedy.output for each in found if each.remedy is not None and each.remedy.tried} == tried
        lines = remedy_lines(found[:2])
        assert any("not tried" in line for line in lines) is (len(tried) < 2)
        assert any("tried on a copy" in line for line in lines) is bool(tried)


@pytest.mark.parametrize("floors", [False, True])
def test_an_opset_is_offered_for_what_becomes_one_node_there_whatever_its_name_is(floors: bool) -> None:
    """A written-out RMSNormalization with weights: the one node has the name of the last Mul, the reason another's."""
    b = Builder(dtype=np.float32)
    x = b.input((2, 5, 8))
    power = b.node("Pow", x, b.constant(np.float32(2)), name="power")
    if floors:
        power = b.node("Floor", power, name="floor")
    mean = b.node("ReduceMean", power, axes=[-1], keepdims=1, name="mean")
    root = b.node("Sqrt", b.node("Add", mean, b.constant(np.float32(1e-5)), name="epsilon"), name="root")
    y = b.node("Div", x, root, name="normalized")
    y = b.node("Mul", y, b.constant(np.linspace(0.5, 2, 8, dtype=np.float32)), name="weighted")
    model = b.model(y)
    model.opset_import[0].version = 17
    untried = onnxnorm.optimize(model, verify=False).normalizations
    tried = with_tried_remedies(ModelSource(model), untried, {}, seconds=600)
    helps = [each.remedy for each in tried if each.remedy is not None and each.remedy.tried]
    assert [each.options for each in helps] == ([] if floors else [("--opset", "23")])
    (after,) = onnxnorm.optimize(model, verify=False, opset=23).normalizations or (None,)
    assert (after is not None and after.fate is Fate.RECOGNIZED) is not floors

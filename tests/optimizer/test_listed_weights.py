"""Weights that are also inputs of the graph: constants where an exporter listed them all out of habit."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxnorm
from onnxnorm import cli
from testing.builder import count, same_in_onnxruntime

RNG = np.random.default_rng(5)


def _net(blocks: int, listed: Collection[str] | None, producer: str = "", ir_version: int = 6) -> onnx.ModelProto:
    """Blocks of convolution and batch normalization; `listed` names the weights that are inputs too, None all."""
    weights: dict[str, np.ndarray] = {}
    nodes, value = [], "x"
    for block in range(blocks):
        own = {
            f"w{block}": RNG.normal(size=(4, 4, 1, 1)),
            f"scale{block}": RNG.normal(size=4),
            f"bias{block}": RNG.normal(size=4),
            f"mean{block}": RNG.normal(size=4),
            f"var{block}": RNG.uniform(0.5, 2, size=4),
        }
        weights |= own
        conv, norm = f"conv{block}", "y" if block == blocks - 1 else f"norm{block}"
        names = list(own)
        nodes.append(helper.make_node("Conv", [value, names[0]], [conv], conv))
        nodes.append(helper.make_node("BatchNormalization", [conv, *names[1:]], [norm], f"bn{block}"))
        value = norm
    tensors = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()]
    also = [
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in tensors
        if listed is None or tensor.name in listed
    ]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4, 3, 3])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4, 3, 3])
    graph = helper.make_graph(nodes, "net", [x, *also], [y], tensors)
    opsets = [helper.make_opsetid("", 11)]
    return helper.make_model(graph, producer_name=producer, ir_version=ir_version, opset_imports=opsets)


@pytest.mark.parametrize(("blocks", "producer"), [(1, "pytorch"), (2, "MXNet"), (4, "")])
def test_all_weights_listed_out_of_habit_are_constants(blocks: int, producer: str) -> None:
    result = onnxnorm.optimize(_net(blocks, None, producer), verify=True)
    assert count(result.model, "BatchNormalization") == 0
    assert [value.name for value in result.model.graph.input] == ["x"]
    (note,) = result.notes
    assert note.startswith(f"{5 * blocks} weights are also listed as inputs") and "--keep-overridable" in note


@pytest.mark.parametrize(
    ("blocks", "listed", "producer"),
    [
        (4, {"scale0", "bias0"}, "pytorch"),
        (4, {f"{role}{block}" for block in range(4) for role in ("scale", "bias", "mean", "var")}, "pytorch"),
        (2, None, ""),
    ],
)
def test_what_may_be_listed_on_purpose_stays_overridable(
    blocks: int, listed: Collection[str] | None, producer: str
) -> None:
    model = _net(blocks, listed, producer)
    result = onnxnorm.optimize(model, verify=True)
    assert {value.name for value in model.graph.input} == {value.name for value in result.model.graph.input}
    assert result.notes == () and any("--freeze-inputs" in decline.reason for decline in result.declined)


@pytest.mark.parametrize("freeze", [True, False])
def test_the_caller_decides_without_a_note(freeze: bool) -> None:
    result = onnxnorm.optimize(_net(2, None, "pytorch"), freeze_inputs=freeze, verify=True)
    assert (count(result.model, "BatchNormalization") == 0) == freeze
    assert (len(result.model.graph.input) == 1) == freeze and result.notes == ()


def test_the_command_line_has_both_ways_and_the_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = tmp_path / "old.onnx", tmp_path / "new.onnx"
    onnx.save(_net(2, None, "pytorch"), path)
    assert cli.main(["optimize", str(path), str(output)]) == 0
    assert "10 weights are also listed as inputs" in capsys.readouterr().out
    assert len(onnx.load(output).graph.input) == 1
    assert cli.main(["optimize", str(path), str(output), "--keep-overridable"]) == 0
    assert "also listed" not in capsys.readouterr().out
    assert len(onnx.load(output).graph.input) == 11
    assert cli.main(["optimize", str(path), str(output), "--keep-overridable", "--freeze-inputs"]) == 2


@pytest.mark.parametrize("listed", [None, ()])
def test_before_ir_version_4_weights_are_constants_listed_or_not(listed: Collection[str] | None) -> None:
    model = _net(2, listed, ir_version=3)
    nodes = model.graph.node
    # Written out, so that folding needs the shapes of what lies between.
    for index in (3, 1):
        norm = nodes[index]
        extra = [RNG.normal(size=(4, 1, 1)).astype(np.float32) for _ in range(2)]
        names = [f"{norm.name}_by", f"{norm.name}_plus"]
        tensors = [numpy_helper.from_array(array, name) for array, name in zip(extra, names, strict=True)]
        model.graph.initializer.extend(tensors)
        if listed is None:
            model.graph.input.extend(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in tensors
            )
        between, last = f"{norm.name}_between", norm.output[0]
        norm.output[0] = f"{norm.name}_out"
        nodes.insert(index + 1, helper.make_node("Add", [between, names[1]], [last]))
        nodes.insert(index + 1, helper.make_node("Mul", [norm.output[0], names[0]], [between]))
    result = onnxnorm.optimize(model, verify=True)
    assert [node.op_type for node in result.model.graph.node] in (["Conv"], ["Conv", "Conv"])
    constants = {tensor.name for tensor in result.model.graph.initializer}
    inputs = {value.name for value in result.model.graph.input}
    assert inputs == ({"x"} if listed == () else {"x"} | constants)


@pytest.mark.parametrize("target", ["portable", "onnxruntime"])
def test_before_ir_version_4_constants_of_a_branch_are_nodes(target: str) -> None:
    """An initializer would have to be an input there, which a graph within a node is not given."""
    model = onnx.parser.parse_model(
        """<ir_version: 3, opset_import: ["": 11]>
        g (bool c, float[1, 4] x) => (float[1, 4] z) <float[4, 4] w, float[4] s, float[4] b>
        {
            z = If (c) <
                then_branch = yes () => (float[1, 4] p) { m = MatMul (x, w)  n = Mul (m, s)  p = Add (n, b) },
                else_branch = no () => (float[1, 4] q) { l = MatMul (x, w)  r = Neg (l)  q = Add (r, b) }
            >
        }"""
    )
    del model.graph.initializer[:]
    for name, extents in (("w", (4, 4)), ("s", (4,)), ("b", (4,))):
        tensor = numpy_helper.from_array(RNG.normal(size=extents).astype(np.float32), name)
        model.graph.initializer.append(tensor)
        model.graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, tensor.dims))
    result = onnxnorm.optimize(model, target=target).model
    assert result.ir_version == 3
    assert count(result, "Mul", "Neg") == 0
    for chosen in (True, False):
        same_in_onnxruntime(
            model, result, feeds={"c": np.array(chosen), "x": RNG.normal(size=(1, 4)).astype(np.float32)}
        )

"""Models that nobody made in good faith: each ends in one error that names the file and says what to do."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxnorm
from fuzz.harness.limits import limited, survives
from fuzz.sources.mutated import mutated
from fuzz.sources.seeds import FINDINGS, seed_model
from onnxnorm.io.skip_weights import varint
from onnxnorm.validate.shape_inference import infer_shapes

Change = Callable[[onnx.ModelProto], object]


def valid() -> onnx.ModelProto:
    return onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y)
        <float[2, 2, 1, 1] w = {1, 2, 3, 4}, float[2] s = {1, 2}, float[2] b = {3, 4}>
        {
            [conv] c = Conv (x, w)
            [norm] n = BatchNormalization (c, s, b, b, s)
            [relu] y = Relu (n)
        }"""
    )


def attempt(model: onnx.ModelProto | bytes, folder: Path) -> str:
    """What the refusal says, which has to name the file."""
    path = folder / "in.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    with pytest.raises(onnxnorm.OnnxNormError) as caught, limited(60):
        onnxnorm.optimize(path, verify=False)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "please report" not in message
    return message


def test_the_model_of_these_tests_is_valid(tmp_path: Path) -> None:
    assert survives(valid().SerializeToString(), tmp_path)


def test_a_model_cut_off_anywhere_is_refused_or_still_a_model(tmp_path: Path) -> None:
    data = valid().SerializeToString()
    refused = sum(not survives(data[:length], tmp_path) for length in range(0, len(data), 7))
    assert refused > len(data) // 7 - 3


def _rename_output(model: onnx.ModelProto) -> None:
    model.graph.node[1].output[0] = "c"


def _cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "n"


def _recursion(model: onnx.ModelProto) -> None:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for name, other in (("f", "g"), ("g", "f")):
        body = helper.make_node(other, ["a"], ["b"], domain="own")
        model.functions.append(helper.make_function("own", name, ["a"], ["b"], [body], imports))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[2].op_type, model.graph.node[2].domain = "f", "own"


def _attribute_type(model: onnx.ModelProto) -> None:
    model.graph.node[1].attribute.append(helper.make_attribute("epsilon", "small"))


def _attribute_of_a_function(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(onnx.AttributeProto(name="group", ref_attr_name="x", type=2))


def _too_few_inputs(model: onnx.ModelProto) -> None:
    del model.graph.node[1].input[2:]


def _too_many_outputs_in_a_function(model: onnx.ModelProto) -> None:
    # By the opset of the function a Clip takes one input, which is not wrong here; two outputs are.
    nodes = [helper.make_node("Clip", ["a"], ["b"]), helper.make_node("Identity", ["b"], ["c", "d"], name="inner")]
    imports = [helper.make_opsetid("", 10)]
    model.functions.append(helper.make_function("own", "f", ["a"], ["c"], nodes, imports))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[2].op_type, model.graph.node[2].domain = "f", "own"


def _needed_input_left_out_of_a_call(model: onnx.ModelProto) -> None:
    # By way of a function that passes on what it is not given.
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    inner = helper.make_node("Add", ["a", "b"], ["c"], name="sum")
    model.functions.append(helper.make_function("own", "g", ["a", "b"], ["c"], [inner], imports))
    outer = helper.make_node("g", ["a", "b"], ["c"], domain="own")
    model.functions.append(helper.make_function("own", "f", ["a", "b"], ["c"], [outer], imports))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node[2].op_type, model.graph.node[2].domain = "f", "own"


def _pool_that_neither_rounds_up_nor_down(model: onnx.ModelProto) -> None:
    model.graph.node[2].op_type = "MaxPool"
    for name, value in (("kernel_shape", [2, 2]), ("ceil_mode", 2)):
        model.graph.node[2].attribute.append(helper.make_attribute(name, value))


def _attribute_of_no_type(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(onnx.AttributeProto(name="pads", ints=[0, 0, 0, 0]))


def _segment(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].segment.begin, model.graph.initializer[0].segment.end = 0, 4


def _sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda model: model.graph.Clear(), ["the model", "export"]),
        (lambda model: model.ClearField("graph"), ["no graph", "export"]),
        (lambda model: model.ClearField("opset_import"), ["no opset", "export"]),
        (lambda model: setattr(model.opset_import[0], "version", -1), ["opset -1"]),
        (_rename_output, ["'norm'", "'c'", "name of its own"]),
        (_cycle, ["in a circle", "export"]),
        (lambda model: model.graph.node[1].input.__setitem__(0, "nowhere"), ["'norm'", "'nowhere'", "export"]),
        (lambda model: setattr(model.graph.output[0], "name", "nowhere"), ["'nowhere'", "export"]),
        (lambda model: setattr(model.graph.initializer[1], "name", "w"), ["'w'", "rename"]),
        (lambda model: setattr(model.graph.node[0], "op_type", ""), ["'conv'", "no operator"]),
        (lambda model: model.graph.initializer[0].dims.__setitem__(0, -2), ["'w'", "negative dimension"]),
        (lambda model: model.graph.initializer[0].dims.__setitem__(0, 2**62), ["'w'", "damaged"]),
        (lambda model: setattr(model.graph.initializer[0], "data_type", 99), ["'w'", "unknown element type 99"]),
        (lambda model: setattr(model.graph.initializer[0], "data_type", TensorProto.INT8), ["'w'", "damaged"]),
        (lambda model: model.graph.initializer[0].uint64_data.append(1), ["'w'", "uint64_data", "damaged"]),
        (lambda model: model.graph.input.add().CopyFrom(model.graph.input[0]), ["'x'", "rename"]),
        (_recursion, ["'f'", "calls itself"]),
        (_attribute_type, ["malformed", "epsilon"]),
        (_too_few_inputs, ["'norm'", "BatchNormalization", "has 2 inputs", "must be 5", "export"]),
        (lambda model: model.graph.node[2].input.append("s"), ["'relu'", "has 2 inputs", "must be 1"]),
        (lambda model: model.graph.node[2].output.append("z"), ["'relu'", "has 2 outputs", "must be 1"]),
        (lambda model: model.graph.node[0].input.extend(["b", "s"]), ["'conv'", "has 4 inputs", "at most 3"]),
        (lambda model: model.graph.node[0].ClearField("output"), ["'conv'", "has 0 outputs", "must be 1"]),
        (lambda model: model.graph.node[0].input.__setitem__(1, ""), ["'conv'", "leaves out", "input number 2"]),
        (_too_many_outputs_in_a_function, ["'inner'", "has 2 outputs", "must be 1"]),
        (_sparse, ["sparse"]),
        (_segment, ["'w'", "segments"]),
        (_attribute_of_no_type, ["'conv'", "'pads'", "no type", "export"]),
        (_attribute_of_a_function, ["'conv'", "'group'", "no"]),
        (lambda model: model.graph.node[0].attribute.append(helper.make_attribute("group", 0)), ["'conv'", "0 groups"]),
        (_needed_input_left_out_of_a_call, ["'relu'", "leaves out an input 'b'", "'g'", "'sum'"]),
        (_pool_that_neither_rounds_up_nor_down, ["'relu'", "ceil_mode = 2", "0 or 1"]),
    ],
)
def test_malformed_models_are_refused_by_name_with_a_remedy(tmp_path: Path, change: Change, words: list[str]) -> None:
    model = valid()
    change(model)
    if not model.graph.node and model.HasField("graph"):
        return  # an empty graph is a model like any other
    message = attempt(model, tmp_path)
    for word in words:
        assert word in message


def test_a_slice_of_what_cannot_be_does_not_end_the_process(tmp_path: Path) -> None:
    """ONNX's shape inference does: of an extent that is declared as -1, and of a window larger than its input."""
    model = valid()
    for name, number in (("start", 0), ("end", 2), ("axis", 2)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([number]), name))
    model.graph.node[2].CopyFrom(helper.make_node("Slice", ["n", "start", "end", "axis"], ["y"], "cut"))
    assert survives(model.SerializeToString(), tmp_path)
    window = onnx.ModelProto.FromString(model.SerializeToString())
    window.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((2, 2, 9, 9), np.float32), "w"))
    assert survives(window.SerializeToString(), tmp_path)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = -1
    assert survives(model.SerializeToString(), tmp_path)


@pytest.mark.parametrize(
    "node",
    [
        "GatherND <batch_dims = -2> (x, places)",
        "Split <num_outputs = -1> (x)",
        f"LayerNormalization <axis = {-(2**40)}> (x, s)",
    ],
)
def test_a_node_at_which_onnx_ends_the_process_is_refused(tmp_path: Path, node: str) -> None:
    text = f"""<ir_version: 8, opset_import: ["": 18]> g (float[1, 2, 4, 4] x) => (y)
        <float[1] s = {{2}}, int64[2, 1] places = {{0, 1}}> {{ a = Relu (x) [bad] y = {node} }}"""
    model = onnx.parser.parse_model(text)
    assert "bad" in attempt(model, tmp_path)
    with pytest.raises(onnxnorm.OnnxNormError, match="bad"):
        onnxnorm.session(model)


def test_a_gather_beyond_its_data_ends_nothing(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["": 18]> g (float[2, 3] x, int64[2, 1000000] places) => (y)
        { [gather] y = GatherND (x, places) }"""
    model = onnx.parser.parse_model(text)
    assert survives(model.SerializeToString(), tmp_path)
    with pytest.raises(onnxnorm.OnnxNormError):
        onnxnorm.session(model)


def test_what_shape_inference_finds_wrong_is_told(tmp_path: Path) -> None:
    model = valid()
    model.graph.node.append(helper.make_node("Slice", ["y"], ["z"], "cut"))
    with pytest.raises(onnx.shape_inference.InferenceError):
        infer_shapes(model, check_type=True, strict_mode=True)
    assert infer_shapes(valid(), suspicious=True) == infer_shapes(valid())


def test_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    data = valid().SerializeToString()
    assert "no UTF-8 text" in attempt(data.replace(b"conv", b"\xff\xfe\xfd\xfc"), tmp_path)


def test_nests_of_graphs_have_a_limit(tmp_path: Path) -> None:
    graph = b""
    for _ in range(400):
        # A graph in an attribute of a node of a graph, by hand: the library itself refuses to build it.
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            graph = tag + varint(len(graph)) + graph
    attempt(valid().SerializeToString() + b"\x3a" + varint(len(graph)) + graph, tmp_path)


def test_unsorted_nodes_are_sorted(tmp_path: Path) -> None:
    model = valid()
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(model.graph.node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert survives(model.SerializeToString(), tmp_path)


def test_unknown_versions_and_operators_pass_through(tmp_path: Path) -> None:
    model = valid()
    model.ir_version, model.opset_import[0].version = 9999, 9999
    model.graph.node[2].op_type = "Unheard"
    assert survives(model.SerializeToString(), tmp_path)


def test_weights_that_are_no_numbers_stay_what_they_are(tmp_path: Path) -> None:
    model = valid()
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array([np.nan, np.inf], np.float32), "s"))
    path = tmp_path / "in.onnx"
    onnx.save(model, path)
    result = onnxnorm.optimize(path, verify=False)
    assert [node.op_type for node in result.model.graph.node] == ["Conv", "BatchNormalization", "Relu"]
    assert result.declined


def _bomb(kind: str) -> onnx.ModelProto:
    model = valid()
    shape = np.array([2**20, 2**20], np.int64)
    nodes = {
        "ConstantOfShape": [helper.make_node("ConstantOfShape", ["shape"], ["bomb"])],
        "Expand": [helper.make_node("Expand", ["s", "shape"], ["bomb"])],
        "Tile": [helper.make_node("Tile", ["one", "shape"], ["bomb"])],
        "Range": [helper.make_node("Range", ["zero", "limit", "step"], ["bomb"])],
        "outer product": [helper.make_node("MatMul", ["column", "row"], ["bomb"])],
        "doubling": [helper.make_node("Concat", [f"d{i}" if i else "s"] * 2, [f"d{i + 1}"], axis=0) for i in range(60)],
    }[kind]
    if kind == "doubling":
        nodes[-1].output[0] = "bomb"
    constants = {
        "shape": shape,
        "one": np.ones((1, 1), np.float32),
        "zero": np.array(0, np.int64),
        "limit": np.array(2**50, np.int64),
        "step": np.array(1, np.int64),
        "column": np.ones((200_000, 1), np.float32),
        "row": np.ones((1, 200_000), np.float32),
    }
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    old = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *old, helper.make_node("Add", ["y", "bomb"], ["z"])])
    model.graph.output[0].name = "z"
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


@pytest.mark.parametrize("kind", ["ConstantOfShape", "Expand", "Tile", "Range", "outer product", "doubling"])
def test_a_few_bytes_that_stand_for_terabytes_stay_a_few_bytes(tmp_path: Path, kind: str) -> None:
    start = time.process_time()
    assert survives(_bomb(kind).SerializeToString(), tmp_path)
    assert time.process_time() - start < 60, "the bomb was computed"


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        ("float[8796093022208] x", "y = Add (x, x)"),
        ("float[N] x", "big = Constant <value_ints = [8796093022208]> () v = Reshape (x, big) y = Add (v, v)"),
        (
            "float[1] x",
            """size = Shape (x) m = Constant <value_ints = [99999]> () a = Tile (x, m) b = Tile (a, m) v = Tile (b, m)
            y = Add (v, v)""",
        ),
    ],
)
def test_a_vector_of_terabytes_is_not_written_out(tmp_path: Path, inputs: str, body: str) -> None:
    """ONNX's shape inference does, where it follows the values of shapes."""
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g ({inputs}) => (float[N] y) {{ {body} }}'
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert survives(model.SerializeToString(), tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19, "in KiB: half a gigabyte"


@pytest.mark.parametrize("extent", [4, 4096])
def test_a_constant_too_large_to_be_computed_takes_no_affine(tmp_path: Path, extent: int) -> None:
    shape = f"[1, 2, {extent}, {extent}]"
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]>
        g (float{shape} x, bool c) => (float{shape} y)
        <float[2, 2, 1, 1] w = {{1, 2, 3, 4}}, float[2] s = {{1, 2}}, float[2] b = {{3, 4}},
         int64[4] shape = {{1, 2, {extent}, {extent}}}>
        {{
            z = If (c) <then_branch = t () => (float{shape} p) {{ p = ConstantOfShape (shape) }},
                        else_branch = e () => (float{shape} q) {{ q = Conv (x, w) }}>
            [norm] y = BatchNormalization (z, s, b, b, s)
        }}"""
    )
    path = tmp_path / "in.onnx"
    onnx.save(model, path)
    result = onnxnorm.optimize(path, passes=("infer_shapes", "fold_affines"), verify=False)
    folded = "BatchNormalization" not in [node.op_type for node in result.model.graph.node]
    assert folded is (extent == 4)


@pytest.mark.parametrize("path", sorted(FINDINGS.glob("*")), ids=lambda path: path.name)
def test_what_the_fuzzers_once_found_is_mended(path: Path, tmp_path: Path) -> None:
    for verify in (False, True):
        with limited(60):
            survives(path.read_bytes(), tmp_path, verify=verify)


@pytest.mark.parametrize("start", [0, 1])
def test_damaged_random_networks_are_refused_or_optimized(start: int, tmp_path: Path) -> None:
    """The short form of `python -m fuzz structural`."""
    outcomes = []
    for number in range(start, 120, 2):
        data = mutated(seed_model(number // 20), number)
        with limited(60):
            outcomes.append(survives(data, tmp_path))
    assert any(outcomes) and not all(outcomes)

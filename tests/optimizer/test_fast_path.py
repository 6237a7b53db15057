"""The short way of onnxnorm/plain against the passes: whatever it takes on, it does as they would."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import onnxnorm
from bench.scale import chain
from fuzz.sources.mutated import mutated
from onnxnorm.affine.cost import ARITHMETIC
from onnxnorm.cli import main
from onnxnorm.graph.normalizations import KINDS
from onnxnorm.io import model_source
from onnxnorm.io.load_and_save import load, to_proto
from onnxnorm.io.model_source import ModelSource
from onnxnorm.linear.operators.table import _SUMS, _TABLES
from onnxnorm.optimizer import fast_path
from onnxnorm.optimizer.fast_path import fold as fold_module
from onnxnorm.optimizer.fast_path import folding_of
from onnxnorm.optimizer.fast_path import operators as operators_module
from onnxnorm.optimizer.fast_path.network import OPSETS
from onnxnorm.optimizer.transform import transform
from testing.plain_networks import TRAPS, Builder, plain_network

MARK = "no text"


def _parts(model: onnx.ModelProto) -> dict[str, object]:
    """All but what is said of shapes, which the passes infer."""
    graph = model.graph
    return {
        "nodes": [
            (node.op_type, node.name, list(node.input), list(node.output),
             sorted(attribute.SerializeToString() for attribute in node.attribute))
            for node in graph.node
        ],
        "constants": {
            tensor.name: (list(tensor.dims), tensor.data_type, numpy_helper.to_array(tensor).tobytes())
            for tensor in graph.initializer
        },
        "inputs": [value.name for value in graph.input],
        "outputs": [value.name for value in graph.output],
        "opset": [entry.version for entry in model.opset_import if not entry.domain],
        "ir_version": model.ir_version,
    }  # fmt: skip


def taken(model: onnx.ModelProto) -> bool:
    """Whether the short way takes the model on; then what it does must be what the passes do, to the bit."""
    before = model.SerializeToString()
    folding = folding_of(model)
    assert model.SerializeToString() == before
    if folding is None:
        return False
    made, rewrites = folding.carry_out()
    assert model.SerializeToString() == before
    result = transform(load(model))
    assert _parts(made) == _parts(to_proto(result.ir_model))
    assert rewrites == result.rewrites
    assert not result.declined
    onnx.checker.check_model(made)
    return True


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), trap=st.sampled_from([None, *TRAPS]))
def test_what_is_taken_on_comes_out_as_the_passes_make_it(seed: int, trap: str | None) -> None:
    taken(plain_network(seed, trap))


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_the_passes_refuse_is_not_taken_on(seed: int) -> None:
    try:
        model = onnx.ModelProto.FromString(mutated(plain_network(seed // 10), seed))
    except DecodeError:
        return
    folding = folding_of(model)
    if folding is not None:
        transform(load(model))
        folding.carry_out()


def test_plain_networks_are_taken_on() -> None:
    networks = [plain_network(seed) for seed in range(60)]
    assert sum(map(taken, networks)) >= 30


def test_what_a_network_has_to_do_with_merging_is_known() -> None:
    mergeable = {name for table in _TABLES.values() for name in table} | _SUMS
    # A Reshape is a linear step behind a Transpose alone, and there is none in a plain network.
    assert mergeable & (operators_module.OTHERS | operators_module.PRODUCTS) == {"Reshape"}
    assert "Transpose" not in operators_module.STEPS | operators_module.OTHERS | operators_module.PRODUCTS
    assert not ARITHMETIC & (operators_module.LINEAR | operators_module.OTHERS)
    assert not {name for _, name in KINDS} & (
        operators_module.STEPS | operators_module.OTHERS | operators_module.PRODUCTS
    )


@pytest.mark.parametrize(
    "op_type", sorted(operators_module.STEPS | operators_module.PRODUCTS | operators_module.OTHERS)
)
def test_an_operator_takes_the_inputs_that_its_schema_says(op_type: str) -> None:
    checked = 0
    for opset in OPSETS:
        try:
            schema = onnx.defs.get_schema(op_type, opset, "")
        except onnx.defs.SchemaError:
            continue
        needed = [parameter.option == parameter.option.Single for parameter in schema.inputs]
        for names in itertools.chain.from_iterable(itertools.product(("", "x"), repeat=count) for count in range(8)):
            right = schema.min_input <= len(names) <= schema.max_input
            right = right and all(name for name, each in zip(names, needed, strict=False) if each)
            # A list of operands may have none left out; that of a plain network has not.
            if "" not in names or schema.max_input < 8:
                assert operators_module.takes(op_type, names, opset) == right
                checked += 1
    assert checked


def test_the_narrow_row_stays_and_the_wide_one_is_left_to_the_passes() -> None:
    assert any(taken(plain_network(seed, "a narrow row")) for seed in range(20))
    wide = Builder(0)
    middle = wide.node("Conv", ["x", wide.constant(np.ones((9, wide.values[0][1], 1, 1)))], 9)
    wide.values.append(wide.node("Conv", [middle[0], wide.constant(np.ones((2, 9, 1, 1)))], 2))
    model = wide.model()
    assert not taken(model)
    assert [node.op_type for node in transform(load(model)).ir_model.graph] == ["Conv"]


@pytest.mark.parametrize("trap", sorted(TRAPS))
def test_traps_are_traps(trap: str) -> None:
    """None is taken on for a mistake of the generator, and those that are no obstacle are taken on."""
    harmless = {
        "a constant that nobody reads",
        "a name that is taken",
        "a narrow row",
        "a norm that is an output",
        "statistics that serve twice",
    }
    without = [seed for seed in range(24) if folding_of(plain_network(seed)) is not None]
    taken_on = [seed for seed in without if folding_of(plain_network(seed, trap)) is not None]
    assert bool(taken_on) == (trap in harmless)


def test_the_callers_message_stays_as_it_is() -> None:
    model = chain(3)
    before = model.SerializeToString()
    result = onnxnorm.optimize(model, verify=False)
    assert model.SerializeToString() == before
    assert [node.op_type for node in result.model.graph.node] == ["Conv", "Relu"] * 3
    assert [rewrite.node for rewrite in result.rewrites] == ["norm0", "norm1", "norm2"]


def test_from_file_to_file_by_api_and_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, by_api, by_command = (tmp_path / name for name in ("in.onnx", "api.onnx", "command.onnx"))
    onnx.save(chain(3), source)
    onnxnorm.optimize(source, verify=True).save(by_api)
    assert main(["optimize", str(source), str(by_command)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^absorbed into Conv +fold_affines +3 +BatchNormalization +norm0$", said, re.MULTILINE)
    assert "verification passed" in said
    assert "9 -> 6 nodes" in said
    assert by_api.read_bytes() == by_command.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["api.onnx", "command.onnx", "in.onnx"]
    # In place, and with weights apart, which takes the long way.
    onnxnorm.optimize(source, verify=False).save(by_api)
    assert main(["optimize", str(source), str(source), "--no-verify"]) == 0
    assert source.read_bytes() == by_api.read_bytes()
    assert main(["fold", str(source), str(tmp_path / "apart.onnx"), "--no-verify", "--external-data"]) == 0


def test_the_command_needs_no_more_of_onnx_than_its_messages(tmp_path: Path) -> None:
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(chain(3), source)
    code = (
        "import sys; from onnxnorm.cli import main; "
        f"main(['optimize', {str(source)!r}, {str(target)!r}, '--no-verify']); "
        "assert 'onnx' not in sys.modules and 'onnx_ir' not in sys.modules, 'imported'; "
        "import onnx; from onnxnorm.model.light_protobuf import message_class; "
        "assert message_class() is onnx.ModelProto; "
        f"onnx.checker.check_model({str(target)!r}, full_check=True)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_not_verified_needs_neither_a_runtime_nor_an_evaluator(tmp_path: Path) -> None:
    source, target = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(chain(3), source)
    code = (
        "import sys; from onnxnorm.cli import main; "
        f"assert main(['optimize', {str(source)!r}, {str(target)!r}, '--no-verify', '--passes', 'fold_affines']) == 0; "
        "assert 'onnxnorm.passes' in sys.modules, 'no pass has run'; "
        "assert not {'onnxruntime', 'onnx.reference'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_where_others_say_more_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\xff" * 20)
    assert ModelSource(broken).message is None
    assert ModelSource(tmp_path).message is None
    assert ModelSource(tmp_path / "missing.onnx").message is None
    onnx.save(chain(3), broken)
    assert ModelSource(broken).message == chain(3)
    monkeypatch.setattr(fast_path, "_LARGEST", 100)
    monkeypatch.setattr(model_source, "_LARGEST", 100)
    assert ModelSource(broken).message is None
    assert folding_of(chain(3)) is None


def test_many_weights_are_computed_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_module, "_AT_ONCE", 40)
    assert sum(taken(plain_network(seed)) for seed in range(20)) >= 10
    assert taken(chain(9))


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(model, "producer_name", MARK),
        lambda model: setattr(model.graph, "doc_string", MARK),
        lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[0], "dim_param", MARK),
        lambda model: setattr(model.graph.node[0], "doc_string", MARK),
        lambda model: model.graph.node[1].metadata_props.add(key="k", value=MARK),
        lambda model: model.graph.initializer[0].metadata_props.add(key=MARK, value="v"),
    ],
)
def test_what_is_no_text_is_left_to_the_passes(change: Callable[[onnx.ModelProto], object]) -> None:
    model = chain(3)
    change(model)
    assert folding_of(model) is not None
    data = model.SerializeToString().replace(MARK.encode(), b"\xff" * len(MARK))
    assert folding_of(onnx.ModelProto.FromString(data)) is None

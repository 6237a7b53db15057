"""Each change of an operator's definition, crossed up and down: the same results, or a refusal that names the node."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnxruntime
import pytest
from forms import FORMS, Form
from onnx.reference import ReferenceEvaluator

import onnxnorm
from onnxnorm import OnnxNormError

NEWEST = onnx.defs.onnx_opset_version()
LOWEST = 7
# What onnxruntime says of versions, attributes and types that its kernels lack.
LACKING = ("NOT_IMPLEMENTED", "only *guarantees*", "Exception during initialization", "No corresponding Numpy type")
# Of operators that share their steps one is enough within branches and functions.
SHARED = re.compile(r"Reduce(?!Mean|Sum$)|LpPool|MaxPool|LogSoftmax|Hardmax|ArgMin|Scatter")
# ONNX's checker refuses version 18, which exporters write and runtimes take.
DEPRECATED = {"GroupNormalization"}
# Attributes whose change makes no difference that could be crossed, or that nothing at hand computes.
LEFT_OUT = {
    # Results of the whole sequence are given where they are named.
    *((op, 7, "output_sequence") for op in ("GRU", "LSTM", "RNN")),
    # Taken by the nodes of onnx's own converter alone.
    ("Upsample", 7, "height_scale"),
    ("Upsample", 7, "width_scale"),
    # Over a batch, of which there is no newer form.
    *(("Scan", 9, name) for name in ("directions", "scan_input_axes", "scan_input_directions", "scan_output_axes")),
    ("Scan", 9, "scan_output_directions"),
    ("Scan", 9, ""),
    # A constant of few elements: there is no older form, and no evaluator here.
    ("Constant", 11, "sparse_value"),
}


@cache
def _schemas() -> dict[str, list[onnx.defs.OpSchema]]:
    found: dict[str, list[onnx.defs.OpSchema]] = defaultdict(list)
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            found[schema.name].append(schema)
    return {name: sorted(ones, key=lambda one: one.since_version) for name, ones in found.items()}


def _boundaries(form: Form) -> list[int]:
    """An opset of every version that has the form, the lowest one, and the one below, which has none."""
    versions = {schema.since_version for schema in _schemas()[form.operator]}
    goals = {min(form.lowest - 1, NEWEST)} | {goal for goal in versions | {form.lowest, NEWEST} if goal >= form.lowest}
    return sorted(goal for goal in goals if LOWEST <= goal <= NEWEST and goal != form.opset)


def _attributes(schema: onnx.defs.OpSchema) -> dict[str, Any]:
    return {name: one.default_value.SerializeToString() for name, one in schema.attributes.items()}


def _changes() -> list[tuple[str, int, str]]:
    """The attributes that came, went or got another default, and operands that came: (operator, version, name)."""
    found = []
    for name, ones in _schemas().items():
        for before, after in pairwise(ones):
            if after.since_version < LOWEST:
                continue
            old, new = _attributes(before), _attributes(after)
            found += [
                (name, after.since_version, key) for key in old.keys() | new.keys() if old.get(key) != new.get(key)
            ]
            if [one.option for one in before.inputs] != [one.option for one in after.inputs]:
                found.append((name, after.since_version, ""))
    return sorted(found)


def _shows(form: Form, operator: str, version: int, name: str) -> bool:
    """Whether the form crosses the version, or stands before it, with that attribute."""
    if form.operator != operator or (form.opset >= version and f"{name} =" not in form.node):
        return False
    is_new = name in _attributes(onnx.defs.get_schema(operator, version, ""))
    return form.opset >= version if is_new and f"{name} =" in form.node else form.opset < version


@pytest.mark.parametrize(("operator", "version", "name"), _changes())
def test_every_change_of_a_definition_has_a_form(operator: str, version: int, name: str) -> None:
    if (operator, version, name) in LEFT_OUT:
        pytest.skip("there is nothing to cross")
    if not name:
        assert any(form.operator == operator for form in FORMS)
    else:
        assert any(_shows(form, operator, version, name) for form in FORMS)


_FIXED = {"scales": [1, 1, 2, 3], "shape": [8, 30], "v": [0.5, 1, 1.5, 2], "start": 1, "limit": 5, "delta": 1.5}


def _feeds(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    feeds: dict[str, np.ndarray] = {}
    for value in model.graph.input:
        if value.type.HasField("optional_type"):
            feeds[value.name] = np.array([1.5, 2], np.float32)
            continue
        tensor = value.type.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        shape = [
            dim.dim_value if dim.HasField("dim_value") else {"W": 5}.get(dim.dim_param, 6) for dim in tensor.shape.dim
        ]
        made = random.uniform(-1, 2, shape) if dtype.kind == "f" else random.integers(0, 2, shape)
        if value.name in _FIXED:
            made = np.array(_FIXED[value.name])
        feeds[value.name] = made.astype(dtype)
    return feeds


def _run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[Any]:
    """Results of onnxruntime, its optimizations off, or of ONNX's reference evaluator where it lacks the operator."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return list(session.run(None, feeds))
    except Exception as error:
        if not any(sign in str(error) for sign in LACKING):
            raise
        return list(ReferenceEvaluator(model).run(None, feeds))


def _is_valid(model: onnx.ModelProto) -> bool:
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError:
        return False
    return True


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.title)
def test_a_form_keeps_its_results_at_every_opset_that_has_one(form: Form) -> None:
    model = form.model()
    feeds, valid = _feeds(model), _is_valid(model)
    assert valid or form.operator in DEPRECATED
    want: list[Any] | None = None if form.want is None else [form.want(feeds)]
    for opset in _boundaries(form):
        if not form.lowest <= opset <= form.highest:
            with pytest.raises(OnnxNormError, match="the_node"):
                onnxnorm.optimize(model, passes=(), opset=opset, verify=False)
            continue
        result = onnxnorm.optimize(model, passes=(), opset=opset, verify=False).model
        assert [entry.version for entry in result.opset_import if not entry.domain] == [opset]
        if valid:
            onnx.checker.check_model(result, full_check=True)
        if want is None:
            want = _run(model, feeds)
        _assert_same(_run(result, feeds), want, opset)


def _assert_same(results: list[Any], want: list[Any], opset: int) -> None:
    for got, expected in zip(results, want, strict=True):
        assert np.shape(got) == np.shape(expected), opset
        if np.asarray(expected).dtype.kind in "OUS":
            assert np.array_equal(got, expected), opset
        else:
            a, b = (np.asarray(each, np.float64) for each in (got, expected))
            np.testing.assert_allclose(a, b, 1e-5, 1e-6, err_msg=str(opset))


def _in_a_branch(model: onnx.ModelProto) -> onnx.ModelProto:
    """The node in both branches of an If, each with constants of its own."""
    nested = onnx.ModelProto()
    nested.CopyFrom(model)
    branches = {}
    for side in ("then", "else"):
        names = {name: f"{name}_{side}" for name in (value.name for value in model.graph.output)}
        names |= {tensor.name: f"{tensor.name}_{side}" for tensor in model.graph.initializer}
        body = onnx.GraphProto(name=side)
        for tensor in model.graph.initializer:
            body.initializer.add().CopyFrom(tensor)
            body.initializer[-1].name = names[tensor.name]
        for value in model.graph.output:
            body.output.add().CopyFrom(value)
            body.output[-1].name = names[value.name]
        for node in model.graph.node:
            renamed = body.node.add()
            renamed.CopyFrom(node)
            for strings in (renamed.input, renamed.output):
                strings[:] = [names.get(name, name) for name in strings]
        branches[f"{side}_branch"] = body
    results = [value.name for value in model.graph.output]
    del nested.graph.node[:], nested.graph.initializer[:]
    nested.graph.node.append(onnx.helper.make_node("If", ["yes"], results, name="the_if", **branches))
    nested.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
    return nested


def _in_a_function(model: onnx.ModelProto) -> onnx.ModelProto:
    """The node and its constants in a function of the model."""
    calling = onnx.ModelProto()
    calling.CopyFrom(model)
    operands, results = [value.name for value in model.graph.input], [value.name for value in model.graph.output]
    constants = [onnx.helper.make_node("Constant", [], [one.name], value=one) for one in model.graph.initializer]
    nodes = [*constants, *model.graph.node]
    function = onnx.helper.make_function("local", "Form", operands, results, nodes, list(model.opset_import))
    del calling.graph.node[:], calling.graph.initializer[:]
    calling.graph.node.append(onnx.helper.make_node("Form", operands, results, domain="local", name="the_call"))
    calling.functions.append(function)
    calling.opset_import.append(onnx.helper.make_opsetid("local", 1))
    calling.ir_version = max(calling.ir_version, 8)
    return calling


@pytest.mark.parametrize("wrapped", [_in_a_branch, _in_a_function])
@pytest.mark.parametrize(
    "form",
    [form for form in FORMS if form.opset >= 9 and form.lowest <= NEWEST and not SHARED.match(form.operator)],
    ids=lambda form: form.title,
)
def test_a_form_within_a_branch_or_a_function_keeps_its_results(
    form: Form, wrapped: Callable[[onnx.ModelProto], onnx.ModelProto]
) -> None:
    """Within a function less is known: there a refusal is right that names the node."""
    model = form.model()
    feeds = _feeds(model)
    want = [form.want(feeds)] if form.want is not None else _run(model, feeds)
    nested, valid = wrapped(model), _is_valid(wrapped(model))
    for opset in {max(form.lowest, 9), NEWEST} - {form.opset}:
        try:
            result = onnxnorm.optimize(nested, passes=(), opset=opset, verify=False).model
        except OnnxNormError as error:
            assert wrapped is _in_a_function
            assert "the_node" in str(error)
            continue
        if valid:
            onnx.checker.check_model(result, full_check=True)
        _assert_same(_run(result, feeds), want, opset)

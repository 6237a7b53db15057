"""Public: tests that a package can run on what it adds to onnxnorm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.interface import Choice, Constant, Declined, Edit, Rule, Scaling, Settled, Site
from onnxnorm.errors import OnnxNormError
from onnxnorm.graph.facts import Facts

__all__ = ["RuleCheck", "check_rule"]

_Array: TypeAlias = "npt.NDArray[np.float64]"

# Both sides are computed in float64, where an exact rewriting and a wrong one are many orders of magnitude apart.
_CLOSE = 1e-9


@dataclass(frozen=True)
class RuleCheck:
    """The outcome of `check_rule` for a rule that is exact.

    Attributes:
        passed: how many affines the node let pass or absorbed, each found to be exact.
        declined: how often each reason to decline was given.
    """

    passed: int
    declined: Mapping[str, int]


@dataclass(frozen=True)
class _Case:
    """A node as it is asked about: its operands by index, and which of its values carry an affine."""

    site: Site
    operands: tuple[_Array, ...]
    is_constant: tuple[bool, ...]
    compute: Callable[..., Any]
    attributes: Mapping[str, Any]
    outputs: list[_Array] = field(default_factory=list)


def check_rule(
    rule: Rule,
    compute: Callable[..., Any],
    operands: Sequence[Sequence[int] | npt.NDArray[Any]],
    attributes: Mapping[str, Any] | None = None,
    *,
    cases: int = 200,
    seed: int = 0,
) -> RuleCheck:
    """Check that a rule is exact: ask it about random affines, and compute the node as it was and as the rule has it.

    Affines stand at each input that is no constant and at each output, one at a time. They vary along the channels
    (axis 1), along another axis, or along none, with scales of both signs or one, with and without a shift.

    Args:
        rule: the rule, as `onnxnorm.rules.register` takes it.
        compute: the operator in NumPy: takes the operands as float64 arrays and the attributes as keyword arguments,
            and returns an array, or a tuple of them for several outputs.
        operands: for each input of the node the shape of a value that is computed, or the array of a constant.
        attributes: the attributes of the node.
        cases: how many affines to ask about.
        seed: of the random numbers.

    Returns:
        How many affines passed, and why the others did not. A test may want to see some of either.

    Raises:
        AssertionError: the rule is not exact; says for which affine, and by how much.
        OnnxNormError: the rule answers in a way that the check cannot carry out.
    """
    random = np.random.default_rng(seed)
    passed, declined = 0, Counter[str]()
    for number in range(cases):
        case = _case(compute, operands, dict(attributes or {}), random)
        value, gauge = _asked(case, number, random)
        if value is None or gauge is None:
            raise OnnxNormError("every operand is a constant: there is no value that an affine could stand at")
        answer = rule(Site(case.site.node, {value: gauge}, case.site.facts))
        if isinstance(answer, Declined):
            declined[answer.reason] += 1
            continue
        for way in answer.ways if isinstance(answer, Choice) else (answer,):
            _check(case, {value: gauge}, way)
        passed += 1
    return RuleCheck(passed, dict(declined))


def _case(
    compute: Callable[..., Any],
    operands: Sequence[Sequence[int] | npt.NDArray[Any]],
    attributes: dict[str, Any],
    random: np.random.Generator,
) -> _Case:
    arrays: list[_Array] = []
    values: list[ir.Value] = []
    for index, operand in enumerate(operands):
        is_constant = isinstance(operand, np.ndarray)
        array = np.asarray(operand) if is_constant else random.normal(size=tuple(operand))
        arrays.append(array)
        value = ir.Value(name=f"operand_{index}", shape=ir.Shape(array.shape))
        value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
        if is_constant:
            value.const_value = ir.tensor(array, name=value.name)
        values.append(value)
    outputs = _computed(compute, arrays, attributes)
    node = ir.node("Operator", values, attributes, domain="onnxnorm.testing", num_outputs=len(outputs))
    for index, (value, array) in enumerate(zip(node.outputs, outputs, strict=True)):
        value.name, value.shape = f"result_{index}", ir.Shape(array.shape)
        value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
    computed = [value for value in values if value.const_value is None]
    graph = ir.Graph(
        computed,
        list(node.outputs),
        nodes=[node],
        initializers=[value for value in values if value.const_value is not None],
        opset_imports={"": 18, "onnxnorm.testing": 1},
        name="checked",
    )
    facts = Facts(ir.Model(graph, ir_version=10))
    constant = tuple(value.const_value is not None for value in values)
    return _Case(Site(node, {}, facts), tuple(arrays), constant, compute, attributes, outputs)


def _computed(compute: Callable[..., Any], arrays: Sequence[Any], attributes: Mapping[str, Any]) -> list[_Array]:
    found = compute(*arrays, **attributes)
    return [np.asarray(each) for each in (found if isinstance(found, tuple) else (found,))]


def _asked(case: _Case, number: int, random: np.random.Generator) -> tuple[ir.Value | None, Gauge | None]:
    """Choose a value of the node and a gauge for it; each value has its turn."""
    node = case.site.node
    inputs = [value for value, constant in zip(node.inputs, case.is_constant, strict=True) if not constant]
    if not inputs:
        return None, None
    values = [*inputs, *node.outputs]
    value = values[number % len(values)]
    assert value is not None and value.shape is not None
    shape = tuple(int(extent) for extent in value.shape if isinstance(extent, int))
    return value, _gauge(shape, random)


def _gauge(shape: tuple[int, ...], random: np.random.Generator) -> Gauge:
    axes = [1] if len(shape) > 1 else []
    kind = int(random.integers(4))
    if kind == 0:
        axes = []
    elif kind == 1 and shape:
        axes = [int(random.integers(len(shape)))]
    extents = tuple(extent if axis in axes else 1 for axis, extent in enumerate(shape))
    scale = random.uniform(0.5, 2.0, size=extents)
    if random.random() < 0.5:
        scale *= random.choice([-1.0, 1.0], size=extents)
    shift = random.normal(size=extents) if random.random() < 0.5 else np.zeros(extents)
    return Gauge.new(ChannelAffine.of(scale, shift, len(shape)))


def _check(case: _Case, gauges: Mapping[ir.Value, Gauge], way: Settled) -> None:
    """Compare the node in the new terms with the node as it was."""
    node = case.site.node
    everywhere = {**gauges, **dict(way.demands)}
    foreign = [value.name for value in everywhere if value not in (*node.inputs, *node.outputs)]
    if foreign:
        raise OnnxNormError(f"the rule demands a gauge for {foreign[0]!r}, which is no value of the node")
    new = [
        _moved(everywhere.get(value), array) if value is not None else array
        for value, array in zip(node.inputs, case.operands, strict=True)
    ]
    results = _after(case, new, way.edit)
    for value, array, result in zip(node.outputs, case.outputs, results, strict=True):
        wanted = _moved(everywhere.get(value), array)
        error = float(np.max(np.abs(result - wanted), initial=0.0))
        allowed = _CLOSE * max(float(np.max(np.abs(wanted), initial=0.0)), 1.0)
        if result.shape != wanted.shape or not error <= allowed:
            told = "; ".join(_told(each, gauge) for each, gauge in everywhere.items())
            raise AssertionError(
                f"the rule is not exact: with {told}, the new {value.name!r} differs by {error:.3g} from what it has "
                f"to be (at most {allowed:.3g} is rounding)"
            )


def _moved(gauge: Gauge | None, array: _Array) -> _Array:
    if gauge is None:
        return array
    if gauge.to_new is None:
        raise OnnxNormError("the rule demands a gauge with a scale of zero, which this check cannot carry out")
    return np.asarray(array * gauge.to_new.scale + gauge.to_new.shift)


def _after(case: _Case, new: list[_Array], edit: Edit | None) -> list[_Array]:
    if edit is None:
        return _computed(case.compute, new, case.attributes)
    if edit.removed:
        kept = edit.inputs[0]
        if not isinstance(kept, int):
            raise OnnxNormError("the edit removes the node, and says by no index which input takes its place")
        return [new[kept]]
    if edit.op_type is not None and edit.op_type != case.site.node.op_type:
        raise OnnxNormError(f"the edit makes another operator of the node ({edit.op_type}), which cannot be checked")
    arrays = [new[each] if isinstance(each, int) else _constant(each) for each in edit.inputs]
    attributes = dict(case.attributes)
    for name, attribute in edit.attributes.items():
        attributes.pop(name, None)
        if attribute is not None:
            attributes[name] = attribute.value
    return _computed(case.compute, arrays, attributes)


def _constant(constant: Constant | None) -> Any:
    if constant is None:
        return None
    made = constant.compute()
    return np.asarray(made.array, np.float64) * made.factors if isinstance(made, Scaling) else made


def _told(value: ir.Value, gauge: Gauge) -> str:
    return f"{value.name!r} times {_numbers(gauge.any.scale)} plus {_numbers(gauge.any.shift)}"


def _numbers(array: _Array) -> str:
    return np.array2string(array.reshape(-1)[:4], precision=3) + ("..." if array.size > 4 else "")

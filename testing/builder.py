"""What the tests of the affine engine share: a small builder of graphs, and the check that a fold changed nothing.

Graphs are built in double precision unless a test says otherwise: there an exact rewriting and a wrong one are many
orders of magnitude apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from hypothesis import HealthCheck, settings
from onnx import helper, numpy_helper

from onnxnorm.evaluate.evaluator import evaluate_float64
from onnxnorm.optimizer.optimize import OptimizeResult, fold, optimize

__all__ = [
    "QUICK",
    "Builder",
    "affines",
    "assert_same",
    "count",
    "folded",
    "loads",
    "random_feeds",
    "same_in_onnxruntime",
]

QUICK = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
"""The same examples in every run."""

AFFINES = frozenset({"BatchNormalization", "Mul", "Add", "Sub", "Div", "Neg"})


class Builder:
    """Collects nodes and constants; the names of values are given out here."""

    def __init__(
        self,
        *,
        seed: int = 0,
        dtype: Any = np.float64,
        opset: int = 18,
        ir_version: int = 8,
        prefix: str = "",
        opsets: Mapping[str, int] | None = None,
    ) -> None:
        self.random = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.opsets = {"": opset, **(opsets or {})}
        self.ir_version = ir_version
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.value_info: list[onnx.ValueInfoProto] = []
        self.functions: list[onnx.FunctionProto] = []
        self._values = 0

    @property
    def element(self) -> int:
        return int(helper.np_dtype_to_tensor_dtype(self.dtype))

    def fresh(self, stem: str = "v") -> str:
        self._values += 1
        return f"{self.prefix}{stem}{self._values}"

    def input(self, shape: Sequence[int | str | None] | None, name: str = "x", element: int | None = None) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, element or self.element, shape))
        return name

    def output(self, *names: str, shape: Sequence[int | str | None] | None = None, element: int | None = None) -> None:
        for name in names:
            self.outputs.append(helper.make_tensor_value_info(name, element or self.element, shape))

    def constant(self, array: Any, name: str | None = None, dtype: Any = None) -> str:
        """An initializer; floats take the type of the graph, integers stay."""
        array = np.asarray(array)
        if dtype is not None or array.dtype.kind == "f":
            array = array.astype(dtype or self.dtype)
        name = name or self.fresh("c")
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def normal(self, *shape: int) -> np.ndarray:
        return self.random.normal(size=shape)

    def node(
        self, op_type: str, *inputs: str, name: str | None = None, out: str | None = None, **attributes: Any
    ) -> str:
        output = out or self.fresh()
        label = f"{self.prefix}{op_type}_{len(self.nodes)}" if name is None else name
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=label, **attributes))
        return output

    def told(self, name: str, shape: Sequence[int | str | None]) -> str:
        """`name`, with the shape that ONNX does not infer for it."""
        self.value_info.append(helper.make_tensor_value_info(name, self.element, shape))
        return name

    def nodes_out(self, op_type: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        names = [self.fresh() for _ in range(outputs)]
        label = f"{self.prefix}{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), names, name=label, **attributes))
        return names

    def vector(self, length: int, kind: str = "mixed") -> np.ndarray:
        """Scales: 'positive', 'mixed' signs, 'zero' or 'tiny' among them, 'one' for all channels, 'unit'."""
        values = self.random.uniform(0.3, 2.0, length)
        if kind in ("mixed", "zero"):
            values *= self.random.choice([-1.0, 1.0], length)
        if kind in ("zero", "half-zero"):
            values[self.random.integers(length)] = 0.0
        if kind == "tiny":
            values[self.random.integers(length)] *= 1e-6
        if kind == "one":
            values[:] = values[0]
        if kind == "unit":
            values[:] = 1.0
        return values

    def statistics(self, channels: int, kind: str = "mixed", *, shift: bool = True) -> list[np.ndarray]:
        """Scale, bias, mean and variance."""
        if kind == "one":
            bias, mean, variance = (np.full(channels, value) for value in (0.3, -0.7, 1.4))
        else:
            bias, mean = self.normal(channels), self.normal(channels)
            variance = self.random.uniform(0.3, 2.0, channels)
        if not shift:
            bias, mean = np.zeros(channels), np.zeros(channels)
        return [self.vector(channels, kind), bias, mean, variance]

    def batch_norm(
        self, x: str, channels: int, kind: str = "mixed", *, shift: bool = True, name: str | None = None,
        out: str | None = None, **attributes: Any,
    ) -> str:  # fmt: skip
        parameters = [self.constant(array) for array in self.statistics(channels, kind, shift=shift)]
        return self.node("BatchNormalization", x, *parameters, name=name, out=out, **{"epsilon": 1e-3, **attributes})

    def affine(self, x: str, scale: Sequence[float], shift: Sequence[float] | None = None, **attributes: Any) -> str:
        """A BatchNormalization that computes scale * x + shift."""
        zeros, ones = np.zeros(len(scale)), np.ones(len(scale))
        parameters = (np.array(scale, float), zeros if shift is None else np.array(shift, float), zeros, ones)
        return self.node("BatchNormalization", x, *map(self.constant, parameters), **{"epsilon": 0.0, **attributes})

    def conv(
        self, x: str, channels: int, outputs: int, kernel: Sequence[int] = (1,), *, bias: bool = True, group: int = 1,
        name: str | None = None, out: str | None = None, **attributes: Any,
    ) -> str:  # fmt: skip
        inputs = [x, self.constant(self.normal(outputs, channels // group, *kernel))]
        if bias:
            inputs.append(self.constant(self.normal(outputs)))
        return self.node("Conv", *inputs, group=group, kernel_shape=list(kernel), name=name, out=out, **attributes)

    def graph(self, name: str = "graph") -> onnx.GraphProto:
        return helper.make_graph(
            self.nodes, name, self.inputs, self.outputs, self.constants, value_info=self.value_info
        )

    def model(self, *outputs: str) -> onnx.ModelProto:
        """The model; `outputs` are declared with the element type of the graph and the shape that ONNX infers."""
        self.output(*outputs)
        model = helper.make_model(
            self.graph(),
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in self.opsets.items()],
            ir_version=self.ir_version,
            functions=self.functions,
        )
        inferred = {value.name: value for value in onnx.shape_inference.infer_shapes(model).graph.output}
        # ONNX infers nothing for some operators: there the builder was told.
        inferred.update((value.name, value) for value in self.value_info)
        for output in model.graph.output:
            if not output.type.tensor_type.HasField("shape"):
                output.CopyFrom(inferred[output.name])
        return model


def count(model: onnx.ModelProto, *op_types: str) -> int:
    """Nodes of these types in the main graph, its subgraphs and the functions."""

    def inside(nodes: Any) -> int:
        total = 0
        for node in nodes:
            total += node.op_type in op_types
            for attribute in node.attribute:
                for graph in (attribute.g, *attribute.graphs):
                    total += inside(graph.node)
        return total

    return inside(model.graph.node) + sum(inside(function.node) for function in model.functions)


def affines(model: onnx.ModelProto) -> int:
    return count(model, *AFFINES)


def random_feeds(model: onnx.ModelProto, *, seed: int = 7, symbols: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Standard normal values for every input that is no initializer; open axes have extent 3, or that in `symbols`."""
    random = np.random.default_rng(seed)
    constants = {tensor.name for tensor in model.graph.initializer}
    feeds: dict[str, Any] = {}
    for value in model.graph.input:
        if value.name in constants:
            continue
        tensor = value.type.tensor_type
        shape = [
            dim.dim_value if dim.HasField("dim_value") else (symbols or {}).get(dim.dim_param, 3)
            for dim in tensor.shape.dim
        ]
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if dtype == np.bool_:
            feeds[value.name] = random.random(shape) < 0.5
        elif np.issubdtype(dtype, np.integer):
            feeds[value.name] = random.integers(0, 2, shape).astype(dtype)
        else:
            feeds[value.name] = random.normal(size=shape).astype(dtype)
    return feeds


def assert_same(before: Mapping[str, Any], after: Mapping[str, Any], tolerance: float) -> None:
    """Equal up to `tolerance` times the largest element of each output; NaN and infinities at the same places."""
    assert list(before) == list(after)
    for name in before:
        a, b = np.asarray(before[name]), np.asarray(after[name])
        assert a.shape == b.shape, f"{name}: shape {b.shape} instead of {a.shape}"
        assert a.dtype == b.dtype, f"{name}: type {b.dtype} instead of {a.dtype}"
        if a.dtype.kind != "f":
            assert np.array_equal(a, b), name
            continue
        a, b = a.astype(np.float64), b.astype(np.float64)
        finite = np.isfinite(a)
        assert np.array_equal(a[~finite], b[~finite], equal_nan=True), f"{name}: other NaN or infinities"
        largest = np.abs(a[finite]).max(initial=0.0)
        error = np.abs(a[finite] - b[finite]).max(initial=0.0)
        assert error <= tolerance * largest, f"{name}: off by {error:.3g} where the largest element is {largest:.3g}"


def _signature(model: onnx.ModelProto) -> tuple[list[Any], list[Any]]:
    constants = {tensor.name for tensor in model.graph.initializer}

    def described(values: Any) -> list[Any]:
        return [(value.name, value.type.tensor_type.elem_type) for value in values if value.name not in constants]

    return described(model.graph.input), [(v.name, v.type.tensor_type.elem_type) for v in model.graph.output]


def loads(model: onnx.ModelProto) -> None:
    """The model is valid, and onnxruntime takes it with its own optimizations off and on."""
    onnx.checker.check_model(model, full_check=True)
    for level in (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
        onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    ):
        session(model, level)


def session(model: onnx.ModelProto, level: Any = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL if level is None else level
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def same_in_onnxruntime(
    before: onnx.ModelProto, after: onnx.ModelProto, *, tolerance: float = 1e-4, feeds: Mapping[str, Any] | None = None
) -> None:
    """Both models give the same in onnxruntime, optimizations of the second off and on."""
    loads(after)
    given = dict(random_feeds(before) if feeds is None else feeds)
    names = [output.name for output in before.graph.output]
    expected = dict(zip(names, session(before).run(None, given), strict=True))
    for level in (
        onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
        onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    ):
        got = dict(zip(names, session(after, level).run(None, given), strict=True))
        assert_same(expected, got, tolerance)


def folded(
    model: onnx.ModelProto,
    *,
    feeds: Mapping[str, Any] | None = None,
    tolerance: float = 1e-9,
    whole: bool = False,
    check: bool = True,
    evaluate: bool = True,
    symbols: Mapping[str, int] | None = None,
    **options: Any,
) -> OptimizeResult:
    """Fold `model` (`whole`: optimize it); check that the result computes the same and that the model did not change.

    Args:
        tolerance: of the comparison in float64, against the largest element of each output.
        check: have the result checked by onnx.checker.
        evaluate: compare the values.
    """
    present = model.SerializeToString(deterministic=True)
    options.setdefault("verify", False)
    result: OptimizeResult = (optimize if whole else fold)(model, **options)
    after = result.model
    assert isinstance(after, onnx.ModelProto)
    assert model.SerializeToString(deterministic=True) == present, "the model given was changed"
    if not options.get("freeze_inputs"):
        assert _signature(after) == _signature(model)
    if check:
        onnx.checker.check_model(after, full_check=True)
    if evaluate:
        given = random_feeds(model, symbols=symbols) if feeds is None else feeds
        assert_same(evaluate_float64(model, given), evaluate_float64(after, given), tolerance)
    return result

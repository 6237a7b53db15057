"""The examples: for each code a model whose normalization is left for that reason, and the same with its remedy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from onnxnorm.journal import Code
from onnxnorm.rules import Answer, Gauge, Rule, Site, cross
from testing.builder import Builder

__all__ = ["EXAMPLES", "OPERATOR", "Example"]

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    """A model with a normalization that is left, and what is done about it.

    The normalization is the node 'norm'.

    Attributes:
        build: makes the model; of `True` the one with the remedy, where it is another model.
        remedy: what was done, as a sentence.
        options: the options of `optimize` with which it is left.
        remedied: the options with which it goes.
        becomes: the code with which it is left then, where it does not go; None where it does.
        about: what the listing does not show, as a sentence.
        rule: the rule that is registered for com.acme.Turned, of `True` the one with the remedy; then the result is
            verified.
    """

    build: Callable[[bool], onnx.ModelProto]
    remedy: str
    options: Options = field(default_factory=dict)
    remedied: Options = field(default_factory=dict)
    becomes: Code | None = None
    about: str = ""
    rule: Callable[[bool], Rule] | None = None


EXAMPLES: dict[Code, Example] = {}

OPERATOR = ("com.acme", "Turned")
"""An operator that turns the channels around, as a package outside of this one defines it."""

_MIXED, _SHIFT = (2.0, -0.5, 1.5, 0.25), (0.5, -1.0, 2.0, 0.3)
_POSITIVE = (2.0, 0.5, 1.5, 0.25)


def _builder(opset: int = 18, **options: Any) -> Builder:
    return Builder(dtype=np.float32, opset=opset, **options)


def _norm(b: Builder, x: str, scale: Any = _POSITIVE, shift: Any = _SHIFT, **options: Any) -> str:
    """A batch normalization of four channels that computes scale * x + shift."""
    parts = [np.asarray(scale), np.asarray(shift), np.zeros(4), np.ones(4)]
    return b.node("BatchNormalization", x, *map(b.constant, parts), name="norm", epsilon=1e-9, **options)


def _bent(b: Builder) -> str:
    """A value of four channels that no affine can go before."""
    return b.node("Sigmoid", b.input((1, 4, 6, 6)), name="before")


def _example(
    code: Code,
    remedy: str,
    *,
    options: Options | None = None,
    remedied: Options | None = None,
    becomes: Code | None = None,
    about: str = "",
    rule: Callable[[bool], Rule] | None = None,
) -> Callable[[Callable[[bool], onnx.ModelProto]], Callable[[bool], onnx.ModelProto]]:
    def enter(build: Callable[[bool], onnx.ModelProto]) -> Callable[[bool], onnx.ModelProto]:
        after = options or {} if remedied is None else remedied
        EXAMPLES[code] = Example(build, remedy, options or {}, after, becomes, about, rule)
        return build

    return enter


@_example(Code.GRAPH_OUTPUT, "The output 'y0' is left out of the graph.")
def graph_output(done: bool) -> onnx.ModelProto:
    b = _builder()
    b.node("Conv", b.input((1, 3, 6, 6)), b.constant(b.normal(4, 3, 3, 3)), name="stem", out="y0")
    y = b.node("Sigmoid", _norm(b, "y0"))
    return b.model(y) if done else b.model("y0", y)


@_example(Code.GRAPH_INPUT, "A convolution stands before it.")
def graph_input(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.input((1, 4, 6, 6))
    x = b.conv(x, 4, 4, (1, 1), name="stem") if done else x
    return b.model(b.conv(b.node("Relu", _norm(b, x)), 4, 4, (1, 1)))


@_example(
    Code.OVERRIDABLE_WEIGHT,
    "Initializers that are inputs too are taken for constants.",
    remedied={"freeze_inputs": True},
)
def overridable_weight(done: bool) -> onnx.ModelProto:
    b = _builder()
    model = b.model(b.node("Sigmoid", _norm(b, b.conv(b.input((1, 3, 6, 6)), 3, 4, (3, 3)))))
    model.graph.input.append(helper.make_tensor_value_info(model.graph.node[1].input[1], TensorProto.FLOAT, [4]))
    return model


@_example(
    Code.UNKNOWN_SHAPE,
    "The input has the shape that the model will see.",
    remedied={"fix_shapes": {"x": ("N", 4, 8, 8)}},
)
def unknown_shape(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.conv(_norm(b, b.input(("N", 4, "H", "W"))), 4, 4, (3, 3), pads=[1, 1, 1, 1], name="padded")
    return b.model(b.node("Sigmoid", b.conv(x, 4, 2, (8, 8), name="last")))


@_example(Code.COMPUTED_PARAMETER, "The scale is a constant of the model.")
def computed_parameter(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.conv(b.input((1, 3, 6, 6)), 3, 4, (3, 3), name="stem")
    scale = b.constant(np.array(_POSITIVE)) if done else b.input((4,), "scale")
    rest = [b.constant(np.asarray(part)) for part in (_SHIFT, np.zeros(4), np.ones(4))]
    return b.model(b.node("Sigmoid", b.node("BatchNormalization", x, scale, *rest, name="norm")))


@_example(Code.TRAINING_MODE, "The node is in inference mode.")
def training_mode(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.conv(b.input((2, 3, 6, 6)), 3, 4, (3, 3), name="stem")
    return b.model(b.node("Sigmoid", _norm(b, x, training_mode=0 if done else 1)))


@_example(Code.FURTHER_OUTPUTS, "The mask is not asked for.")
def further_outputs(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = _norm(b, _bent(b))
    y, mask = b.nodes_out("Dropout", x, outputs=2)
    y = b.node("Sigmoid", b.conv(y, 4, 4, (1, 1), name="next"))
    if done:
        return b.model(y)
    b.output(mask, shape=(1, 4, 6, 6), element=TensorProto.BOOL)
    return b.model(y)


@_example(Code.UNDEFINED, "All its constants are finite.")
def undefined(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.conv(b.input((1, 3, 6, 6)), 3, 4, (3, 3), name="stem")
    return b.model(b.node("Sigmoid", _norm(b, x, (1.0, 1.0 if done else np.inf, 1.0, 1.0))))


@_example(
    Code.CONSTANT_INPUT,
    "The default passes compute it once.",
    options={"passes": ("fold_affines", "account")},
    remedied={},
)
def constant_input(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = _norm(b, b.constant(b.normal(1, 4, 6, 6)))
    return b.model(b.node("Add", b.input((1, 4, 6, 6)), x))


@_example(Code.BENDS_AT_ZERO, "The normalization stands between the convolution and the bend.")
def bends_at_zero(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.node("Relu", b.input((1, 4, 6, 6)))
    x = b.conv(x, 4, 4, (1, 1), name="linear") if done else x
    return b.model(b.node("Relu", _norm(b, x), name="bend"))


@_example(Code.NEGATIVE_SCALE, "The normalization stands behind a convolution.")
def negative_scale(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = _bent(b)
    x = b.conv(x, 4, 4, (1, 1), name="linear") if done else x
    x = b.node("MaxPool", _norm(b, x, _MIXED, np.zeros(4)), kernel_shape=[2, 2], name="pool")
    return b.model(b.node("Sigmoid", x))


@_example(Code.ZERO_PADDING, "The normalization stands before the pool.")
def zero_padding(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.conv(b.input((1, 3, 6, 6)), 3, 4, (3, 3), name="stem")
    pool = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1, "name": "pool"}
    x = b.node("AveragePool", _norm(b, x), **pool) if done else _norm(b, b.node("AveragePool", x, **pool))
    return b.model(b.node("GlobalMaxPool" if done else "Sigmoid", x))


@_example(Code.OTHER_AXIS, "The normalization stands behind a convolution.")
def other_axis(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = _bent(b)
    x = b.conv(x, 4, 4, (1, 1), name="linear") if done else x
    return b.model(b.node("ReduceMax", _norm(b, x, shift=np.zeros(4)), b.ints(1), name="reduce"))


@_example(Code.OPERATOR, "The normalization stands behind a convolution.")
def operator(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = _bent(b)
    x = b.conv(x, 4, 4, (1, 1), name="linear") if done else x
    return b.model(b.node("Tanh", _norm(b, x), name="behind"))


@_example(Code.ZERO_SCALE, "No channel is multiplied by zero.")
def zero_scale(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.conv(b.input((1, 3, 6, 6)), 3, 4, (1, 1), name="stem")
    y = b.node("Sigmoid", _norm(b, x, (1.0, 1.0 if done else 0.0, 2.0, 0.5), np.zeros(4)))
    return b.model(y, b.node("Sigmoid", b.conv(x, 4, 4, (1, 1), name="other")))


@_example(Code.QUANTIZED, "The normalization stands behind a convolution.")
def quantized(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.input((1, 4, 6, 6), "x", TensorProto.UINT8)
    x = b.node("DequantizeLinear", x, b.constant(np.array(0.1)), name="dequantize")
    x = b.conv(x, 4, 4, (1, 1), name="linear") if done else x
    return b.model(b.node("Sigmoid", _norm(b, x)))


@_example(Code.RUNTIME_UNIT, "The normalization stands behind a convolution.")
def runtime_unit(done: bool) -> onnx.ModelProto:
    b = _builder()
    q, k, v = (b.input((1, 4, 6, 8), name) for name in "qkv")
    q = b.conv(q, 4, 4, (1, 1), name="linear") if done else b.node("Sigmoid", q)
    scores = b.node("MatMul", _norm(b, q, shift=np.zeros(4)), b.node("Transpose", k, perm=[0, 1, 3, 2]), name="scores")
    scores = b.node("Div", scores, b.constant(np.array(8.0**0.5)))
    return b.model(b.node("MatMul", b.node("Softmax", scores, axis=-1), v))


@_example(Code.READERS_DIFFER, "The other reader is left out.")
def readers_differ(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.conv(b.input((1, 3, 6, 6)), 3, 4, (3, 3), name="stem")
    y = b.node("Relu", _norm(b, x))
    return b.model(y) if done else b.model(y, b.node("Sigmoid", x, name="other"))


@_example(Code.COSTS_AS_MUCH, "A convolution of the same size stands before it.")
def costs_as_much(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.node("GlobalMaxPool", _bent(b))
    x = b.conv(x, 4, 4, (1, 1), name="linear") if done else x
    tiled = b.node("Tile", _norm(b, x), b.ints(1, 2, 160, 160), name="tile")
    return b.model(b.node("Sigmoid", b.node("Add", tiled, b.constant(b.normal(8, 1, 1)), name="add")))


@_example(Code.LOSES_ACCURACY, "The shift is as small as the values.")
def loses_accuracy(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.conv(b.input((1, 3, 6, 6)), 3, 4, (1, 1), name="stem")
    y = b.node("Sigmoid", _norm(b, x, shift=np.full(4, 0.5 if done else 100.0)))
    return b.model(y, b.node("Sigmoid", b.conv(x, 4, 4, (1, 1), name="other")))


@_example(Code.OUT_OF_RANGE, "The model is in float32.")
def out_of_range(done: bool) -> onnx.ModelProto:
    b = Builder(dtype=np.float32 if done else np.float16)
    x = b.node("Conv", b.input((1, 1, 6, 6)), b.constant(np.full((4, 1, 1, 1), 3e3)), name="stem")
    return b.model(b.node("Sigmoid", _norm(b, x, (100.0, 100.0, 100.0, 100.0))))


@_example(Code.WEIGHTS_GROW, "The weights may double.", remedied={"max_growth": 1.0})
def weights_grow(done: bool) -> onnx.ModelProto:
    b = _builder()
    weight = b.constant(b.normal(4, 512, 5, 5))
    first = b.node("Conv", b.input((1, 512, 8, 8)), weight, name="first")
    second = b.node("Conv", b.input((1, 512, 8, 8), "z"), weight, name="second")
    return b.model(b.node("Sigmoid", _norm(b, first)), b.node("Sigmoid", second))


@_example(Code.MASK, "Its numbers are no mask's.")
def mask(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.conv(_bent(b), 4, 4, (1, 1), name="linear") if done else _bent(b)
    return b.model(b.node("Sigmoid", _norm(b, x, shift=np.full(4, 1.0 if done else -1e9))))


@_example(Code.SEARCH_LIMIT, "Fewer nodes read the value.")
def search_limit(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.conv(b.input((1, 3, 6, 6)), 3, 4, (1, 1), name="stem")
    y = b.node("Sigmoid", _norm(b, x))
    others = [b.conv(x, 4, 1, (1, 1)) for _ in range(4 if done else 1100)]
    return b.model(y, *(b.node("Sigmoid", b.node("Concat", *others, axis=1)),))


def _written_out(b: Builder, *, power: float = 0.5) -> str:
    x = b.input((2, 4, 8))
    mean = b.node("ReduceMean", x, axes=[-1])
    centred = b.node("Sub", x, mean)
    variance = b.node("ReduceMean", b.node("Mul", centred, centred), axes=[-1])
    root = b.node("Pow", b.node("Add", variance, b.constant(np.array(1e-5))), b.constant(np.array(power)))
    y = b.node("Div", centred, root)
    scaled = b.node("Mul", y, b.constant(b.normal(8)))
    return b.node("Add", scaled, b.constant(b.normal(8)), name="norm")


@_example(Code.NEEDS_OPSET, "The model is converted to opset 17.", remedied={"opset": 17})
def needs_opset(done: bool) -> onnx.ModelProto:
    b = _builder(13)
    return b.model(b.node("Sigmoid", _written_out(b)))


@_example(Code.LOOKS_LIKE, "The variance has its root.")
def looks_like(done: bool) -> onnx.ModelProto:
    b = _builder(17)
    return b.model(b.node("Sigmoid", _written_out(b, power=0.5 if done else 1.0)))


@_example(Code.NO_ONNX_NODE, "A LayerNormalization stands in its place.")
def no_onnx_node(done: bool) -> onnx.ModelProto:
    b = _builder(17)
    if done:
        return b.model(b.node("Sigmoid", _written_out(b)))
    x = b.input((2, 4, 8))
    return b.model(b.node("Div", x, b.node("ReduceL2", x, axes=[1, 2]), name="norm"))


@_example(Code.ONE_NODE, "A BatchNormalization stands in its place.")
def one_node(done: bool) -> onnx.ModelProto:
    b = _builder()
    x = b.conv(b.input((1, 3, 6, 6)), 3, 4, (1, 1), name="stem")
    if done:
        return b.model(b.node("Sigmoid", _norm(b, x)))
    parts = [b.constant(np.ones(6))] * 2
    return b.model(b.node("Sigmoid", b.node("LayerNormalization", x, *parts, name="norm")))


@_example(Code.SIMPLIFIED_LAYER_NORM, "It is an RMSNormalization of opset 23.", becomes=Code.ONE_NODE)
def simplified_layer_norm(done: bool) -> onnx.ModelProto:
    b = _builder(23 if done else 17, ir_version=11 if done else 8)
    x, scale = b.input((2, 6)), b.constant(np.ones(6))
    y = b.node("RMSNormalization" if done else "SimplifiedLayerNormalization", x, scale, name="norm")
    b.output(y, shape=(2, 6))
    return b.model(y)


@_example(Code.KEPT, "It is not kept.", options={"keep": ("norm",)}, remedied={})
def kept(done: bool) -> onnx.ModelProto:
    b = _builder()
    return b.model(b.node("Sigmoid", _norm(b, b.conv(b.input((1, 3, 6, 6)), 3, 4, (3, 3)))))


@_example(Code.NOT_ASKED, "The default passes run.", options={"passes": ("clean", "account")}, remedied={})
def not_asked(done: bool) -> onnx.ModelProto:
    b = _builder()
    return b.model(b.node("Sigmoid", _norm(b, b.conv(b.input((1, 3, 6, 6)), 3, 4, (3, 3)))))


def _turned(right: bool) -> Rule:
    """Return the rule of the operator, or one that forgets that it turns the channels around."""

    def through(gauge: Gauge) -> Gauge:
        return gauge.map(lambda array: array[:, ::-1]) if right else gauge

    def turned(site: Site) -> Answer:
        return cross(site, through, through)

    return turned


@_example(
    Code.FAILED_VERIFICATION,
    "The rule turns scale and shift around, too.",
    options={"target": "onnxruntime"},
    about="The rule that is registered for com.acme.Turned, which turns the channels around, lets all pass as it is.",
    rule=_turned,
)
def failed_verification(done: bool) -> onnx.ModelProto:
    domain, operator = OPERATOR
    b = _builder(opsets={domain: 1})
    x = b.conv(b.input((1, 3, 6, 6)), 3, 4, (1, 1), name="stem")
    x = b.told(b.node(operator, x, domain=domain, name="turned"), (1, 4, 6, 6))
    model = b.model(b.node("Sigmoid", _norm(b, x)))
    ends = {"start": [-1], "end": [-(2**31)], "axis": [1]}
    nodes = [helper.make_node("Constant", [], [name], value_ints=value) for name, value in ends.items()]
    nodes.append(helper.make_node("Slice", ["x", "start", "end", "axis", "start"], ["y"]))
    model.functions.append(helper.make_function(domain, operator, ["x"], ["y"], nodes, [helper.make_opsetid("", 18)]))
    return model

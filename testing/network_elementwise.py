"""What random networks do element by element: affines, bends, sums, products, choices."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from testing.networks import Network, Shape

__all__ = ["GROWERS", "keep_shape"]


def _batch_norm(net: Network, x: str | None = None) -> str | None:
    x = x or net.value(lambda shape: len(shape) >= 2)
    if x is None:
        return None
    shape = net.shapes[x]
    per_activation = net.opset < 9 and net.coin(0.4)
    extents = shape[1:] if per_activation else (shape[1],)
    size = int(np.prod(extents))
    beta, mean, variance = net.normal(size), net.normal(size), net.random.uniform(0.2, 3, size)
    if net.coin(0.1):
        beta, mean = np.zeros(size), np.zeros(size)
    if net.coin(0.1):
        # Statistics far from the values that the network really has.
        mean, variance = mean * 10.0 ** net.between(-3, 3), variance * 10.0 ** net.between(-6, 4)
    if net.coin(0.1):
        beta[:], mean[:], variance[:] = beta[0], mean[0], variance[0]
    gamma = net.vector(size)
    parameters = [net.constant(array.reshape(extents)) for array in (gamma, beta, mean)]
    # A shared constant may be negative.
    parameters.append(net.initializer(variance.reshape(extents)))
    extra = {"spatial": 0} if per_activation else {}
    return net.node("BatchNormalization", [x, *parameters], shape, epsilon=net.pick([1e-3, 1e-5]), **extra)


def _scale_and_shift(net: Network) -> None:
    """BatchNormalization spelled out: (x - mean) * gamma / sqrt(variance + epsilon) + beta."""
    found = net.some(lambda shape: len(shape) >= 2)
    if found is None:
        return
    x, shape = found
    extents = (shape[1],) + (1,) * (len(shape) - 2)

    def column(array: np.ndarray) -> str:
        return net.constant(array.reshape(extents))

    y = net.node("Sub", [x, column(net.normal(shape[1]))], shape)
    variance, epsilon = net.initializer(net.random.uniform(0.2, 3, extents)), net.initializer(np.array(1e-3))
    deviation = net.hidden("Sqrt", [net.hidden("Add", [variance, epsilon])])
    if net.coin():
        y = net.node("Div", [y, deviation], shape)
    else:
        y = net.node("Mul", [y, net.hidden("Reciprocal", [deviation])], shape)
    net.node("Add", [net.node("Mul", [y, column(net.vector(shape[1]))], shape), column(net.normal(shape[1]))], shape)


def _constant_arithmetic(net: Network) -> None:
    found = net.some()
    assert found is not None
    x, shape = found
    mask = net.pick(["scalar", "channel", "last", "full", "row", "enlarging"])
    extents = [1] * len(shape)
    if mask == "channel" and len(shape) > 1:
        extents[1] = shape[1]
    elif mask == "last":
        extents[-1] = shape[-1]
    elif mask == "full":
        extents = list(shape)
    elif mask == "row":
        extents[0] = shape[0]
    elif mask == "enlarging" and len(shape) < 5 and net.coin(0.2):
        extents = [2, *extents]
    array = net.vector(int(np.prod(extents))).reshape(extents)
    while array.ndim and array.shape[0] == 1 and net.coin(0.7):
        array = array[0]
    operator = net.pick(["Mul", "Add", "Sub", "Div"])
    if operator == "Div":
        array = np.where(np.abs(array) < 0.1, 0.7, array)
    # A shared constant may be zero.
    operands = [x, net.initializer(array) if operator == "Div" else net.constant(array)]
    if operator != "Div" and net.coin(0.3):
        operands.reverse()
    net.node(operator, operands, tuple(np.broadcast_shapes(shape, array.shape)))


def _activation(net: Network, x: str | None = None) -> None:
    x = x or net.value()
    assert x is not None
    shape = net.shapes[x]
    kind = net.pick(["Relu"] * 4 + ["LeakyRelu", "PRelu", "Clip", "Clip", "Sigmoid", "Tanh", "Identity", "Neg", "Abs",
                     "Softmax", "Dropout", "HardSigmoid", "Softplus", "Erf", "Swish", "Elu"])  # fmt: skip
    if kind == "PRelu":
        extents = (shape[1],) + (1,) * (len(shape) - 2) if len(shape) > 1 else (1,)
        slope = net.random.uniform(0.1, 1.5, extents) if net.coin() else net.normal(*extents)
        net.node("PRelu", [x, net.constant(slope)], shape)
    elif kind == "Clip":
        low, high = np.sort(net.normal(2))
        if net.opset < 11:
            net.node("Clip", [x], shape, min=float(low), max=float(high))
        else:
            net.node("Clip", [x, net.initializer(low), net.initializer(high) if net.coin() else ""], shape)
    elif kind == "LeakyRelu":
        net.node("LeakyRelu", [x], shape, alpha=0.2)
    elif kind == "Softmax":
        net.node("Softmax", [x], shape, axis=net.between(0, len(shape) - 1))
    elif kind == "Swish":
        net.node("Mul", [x, net.node("Sigmoid", [x], shape)], shape)
    elif kind == "Erf" and net.opset < 9:
        net.node("Tanh", [x], shape)
    else:
        net.node(kind, [x], shape)


def _positive(net: Network) -> None:
    """Operators of positive values, where neither NaN nor infinities arise."""
    found = net.some()
    assert found is not None
    x, shape = found
    y = net.node("Exp", [net.node("Tanh", [x], shape)], shape)
    if net.coin():
        scale = net.random.uniform(0.5, 2.0, shape[1] if len(shape) > 1 else 1)
        y = net.node("Mul", [y, net.initializer(scale.reshape(-1, *[1] * max(len(shape) - 2, 0)))], shape)
    kind = net.pick(["Sqrt", "Reciprocal", "Pow", "Log"])
    inputs = [y, net.initializer(np.array(net.pick([2.0, 0.5, -1.0, 1.5, 3.0])))] if kind == "Pow" else [y]
    net.node(kind, inputs, shape)


def _squares(net: Network) -> None:
    # Of bounded values: squares of squares would leave the range in which the comparison is sharp.
    found = net.some()
    assert found is not None
    x, shape = found
    y = net.node("Tanh", [x], shape)
    y = _batch_norm(net, y) or y if len(shape) >= 2 and net.coin() else y
    net.node("Pow", [y, net.initializer(np.array(net.pick([2.0, 3.0])))], shape)


def _fits_into(shape: Shape, other: Shape) -> bool:
    return len(other) <= len(shape) and all(o in (1, n) for o, n in zip(reversed(other), reversed(shape), strict=False))


def _combine(net: Network) -> None:
    found = net.some()
    assert found is not None
    x, shape = found
    y = net.value(lambda other: _fits_into(shape, other))
    assert y is not None
    kind = net.pick(["Add", "Add", "Add", "Sub", "Mul", "Sum", "Max", "Min", "Mean"])
    if kind == "Mul":
        y = net.node("Sigmoid", [y], net.shapes[y])
    net.node(kind, [x, y] if net.coin(0.7) else [y, x], shape)


def _gate(net: Network) -> None:
    """Squeeze and excite."""
    found = net.some(lambda shape: 3 <= len(shape) <= 4)
    if found is None:
        return
    x, shape = found
    pooled = (*shape[:2], *[1] * (len(shape) - 2))
    y = net.node("GlobalAveragePool", [x], pooled)
    weight = net.normal(shape[1], shape[1], *pooled[2:]) / np.sqrt(shape[1])
    y = net.node("Conv", [y, net.constant(weight), net.constant(net.normal(shape[1]))], pooled)
    y = net.node("Sigmoid", [(_batch_norm(net, y) if net.coin() else y) or y], pooled)
    net.node("Mul", [x, y], shape)


def _extremum(net: Network) -> None:
    found = net.some()
    assert found is not None
    x, shape = found
    extents = [extent if net.coin() else 1 for extent in shape]
    net.node(net.pick(["Max", "Min"]), [x, net.constant(net.normal(*extents))], shape)


def _choose(net: Network) -> None:
    found = net.some()
    assert found is not None
    x, shape = found
    y = net.value(lambda other: _fits_into(shape, other))
    assert y is not None
    other = net.constant(net.normal(*[extent if net.coin() else 1 for extent in shape])) if net.coin(0.3) else y
    asked = net.initializer(net.random.random([extent if net.coin() else 1 for extent in shape]) < 0.5)
    net.node("Where", [asked, x, other] if net.coin() else [asked, other, x], shape)


def _running_sum(net: Network) -> None:
    found = net.some()
    assert found is not None
    x, shape = found
    axis = net.initializer(np.array(net.between(-len(shape), len(shape) - 1), np.int64))
    net.node("CumSum", [x, axis], shape, exclusive=net.between(0, 1), reverse=net.between(0, 1))


def _casts(net: Network) -> None:
    """To float and back, which rounds nothing in the comparison."""
    found = net.some()
    assert found is not None
    x, shape = found
    y = net.hidden("Cast", [x], to=TensorProto.FLOAT)
    net.node("Cast", [y], shape, to=TensorProto.DOUBLE)


def keep_shape(net: Network, x: str) -> str:
    """Some operators on `x` that keep its shape; the result."""
    shape = net.shapes[x]
    for _ in range(net.between(1, 3)):
        kind = net.pick(["norm", "norm", "activation", "scale", "linear", "branch"])
        if kind == "norm" and len(shape) >= 2:
            x = _batch_norm(net, x) or x
        elif kind == "scale":
            extents = (shape[1], *[1] * (len(shape) - 2)) if len(shape) >= 2 else (1,)
            x = net.node(net.pick(["Mul", "Add"]), [x, net.constant(net.vector(extents[0]).reshape(extents))], shape)
        elif kind == "linear" and len(shape) >= 3:
            weight = net.normal(shape[1], shape[1], *[1] * (len(shape) - 2)) / np.sqrt(shape[1])
            x = net.node("Conv", [x, net.constant(weight)], shape)
        elif kind == "linear":
            x = net.node("MatMul", [x, net.constant(net.normal(shape[-1], shape[-1]) / np.sqrt(shape[-1]))], shape)
        elif kind == "branch":
            y = net.value(lambda other: other == shape)
            x = net.node("Add", [x, y or x], shape)
        else:
            _activation(net, x)
            x = next(reversed(net.shapes))
    return x


GROWERS = [
    (_batch_norm, 4.0, 7), (_scale_and_shift, 0.5, 7), (_constant_arithmetic, 3.0, 7), (_activation, 3.0, 7),
    (_positive, 0.4, 7), (_squares, 0.2, 7), (_combine, 2.0, 8), (_gate, 0.3, 7), (_extremum, 0.4, 8),
    (_choose, 0.4, 9), (_running_sum, 0.2, 11), (_casts, 0.2, 7),
]  # fmt: skip
"""What grows, its weight, and the first operator set that has it."""

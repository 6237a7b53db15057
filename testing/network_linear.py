"""The linear operators of random networks, and the normalizations and recurrences that have weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, numpy_helper

from testing.networks import Network

__all__ = ["GROWERS"]


def _weight(net: Network, *shape: int, inner: int) -> str:
    """A weight, now and then a quantized one."""
    values = net.normal(*shape) / np.sqrt(inner)
    if not net.quantized or net.opset < 13 or net.coin(0.8):
        return net.constant(values)
    axis = net.between(0, 1)
    scales = np.full(shape[axis], 0.02, np.float32) * net.random.uniform(0.5, 2.0, shape[axis]).astype(np.float32)
    integers = np.clip(np.rint(values / 0.02), -127, 127).astype(np.int8)
    inputs = [net.fresh("c"), net.fresh("c")]
    for name, array in zip(inputs, (integers, scales), strict=True):
        net.constants.append(numpy_helper.from_array(array, name))
    return net.hidden("Cast", [net.hidden("DequantizeLinear", inputs, axis=axis)], to=TensorProto.DOUBLE)


def _convolution(net: Network) -> None:
    found = net.some(lambda shape: 3 <= len(shape) <= 5)
    if found is None:
        return
    x, (batch, channels, *space) = found
    group = net.pick([g for g in (1, 1, 2, 3, channels) if channels % g == 0])
    outputs = group * net.between(1, 3)
    if outputs > 12:
        return
    kernel, strides = [net.pick([1, 2, 3]) for _ in space], [net.pick([1, 1, 2]) for _ in space]
    dilations = [net.pick([1, 1, 2]) for _ in space]
    extra: dict[str, Any] = {"dilations": dilations}
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = [net.pick([0, 0, 1]) for _ in range(2 * len(space))] if net.coin() else [0] * (2 * len(space))
    if net.coin(0.1):
        extra = {"auto_pad": net.pick(["SAME_UPPER", "SAME_LOWER"])}
        size = [-(-n // s) for n, s in zip(space, strides, strict=True)]
    else:
        extra["pads"] = pads
        padded = [n + pads[i] + pads[i + len(space)] for i, n in enumerate(space)]
        size = [(n - r) // s + 1 for n, r, s in zip(padded, reach, strides, strict=True)]
    if min(size) < 1:
        return
    per_group = channels // group
    inputs = [x, _weight(net, outputs, per_group, *kernel, inner=per_group * int(np.prod(kernel)))]
    if net.coin():
        inputs.append(net.constant(net.normal(outputs)))
    net.node("Conv", inputs, (batch, outputs, *size), group=group, kernel_shape=kernel, strides=strides, **extra)


def _transposed_convolution(net: Network) -> None:
    found = net.some(lambda shape: 3 <= len(shape) <= 4 and max(shape[2:]) <= 8)
    if found is None:
        return
    x, (batch, channels, *space) = found
    group = net.pick([g for g in (1, 2, channels) if channels % g == 0])
    outputs = net.between(1, 2)
    kernel, stride = [net.pick([1, 2, 3]) for _ in space], [net.pick([1, 2]) for _ in space]
    size = [(n - 1) * s + k for n, s, k in zip(space, stride, kernel, strict=True)]
    extra: dict[str, Any] = {}
    if net.coin(0.3) and min(kernel) == 3:
        extra["pads"] = [1, 0] * len(space)
        cut = np.reshape(extra["pads"], (2, -1)).sum(axis=0)
        size = [n - int(c) for n, c in zip(size, cut, strict=True)]
    if min(size) < 1:
        return
    inputs = [x, net.constant(net.normal(channels, outputs, *kernel) / np.sqrt(channels * np.prod(kernel)))]
    if net.coin():
        inputs.append(net.constant(net.normal(outputs * group)))
    net.node("ConvTranspose", inputs, (batch, outputs * group, *size), group=group, strides=stride, kernel_shape=kernel,
             **extra)  # fmt: skip


def _gemm(net: Network) -> None:
    found = net.some(lambda shape: len(shape) == 2)
    if found is None:
        return
    x, shape = found
    transposed, outputs = net.coin(), net.between(1, 6)
    alpha, beta = net.pick([1.0, 2.0]), net.pick([1.0, 0.5, 0.0]) if net.coin(0.3) else 1.0
    if net.coin(0.2):
        # The constant comes first.
        weight = net.normal(shape[0], outputs) if transposed else net.normal(outputs, shape[0])
        inputs = [net.constant(weight / np.sqrt(shape[0])), x]
        if net.coin() or net.opset < 11:
            inputs.append(net.constant(net.normal(outputs, 1)))
        net.node("Gemm", inputs, (outputs, shape[1]), transA=int(transposed), alpha=alpha)
        return
    weight = net.normal(outputs, shape[1]) if transposed else net.normal(shape[1], outputs)
    inputs = [x, net.constant(weight / np.sqrt(shape[1]))]
    if net.coin(0.2) and (added := net.value(lambda other: other == (shape[0], outputs))):
        inputs.append(added)
    elif net.coin(0.8) or net.opset < 11:
        inputs.append(net.constant(net.normal(*net.pick([(outputs,), (1, outputs), (shape[0], 1), (1,), ()]))))
    net.node("Gemm", inputs, (shape[0], outputs), transB=int(transposed), alpha=alpha, beta=beta)


def _product(net: Network) -> None:
    found = net.some(lambda shape: len(shape) >= 2)
    if found is None:
        return
    x, shape = found
    outputs = net.between(1, 6)
    kind = net.pick(["right", "right", "left", "batch", "values", "einsum"])
    root = np.sqrt(shape[-2] if kind == "left" else shape[-1])
    if kind == "left":
        net.node("MatMul", [net.constant(net.normal(outputs, shape[-2]) / root), x], (*shape[:-2], outputs, shape[-1]))
    elif kind == "batch" and len(shape) <= 4:
        net.node(
            "MatMul", [x, net.constant(net.normal(*shape[:-2], shape[-1], outputs) / root)], (*shape[:-1], outputs)
        )
    elif kind == "values":
        order = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        y = net.value(lambda other: other == shape) or x
        turned = tuple(shape[axis] for axis in order)
        y = net.node("Transpose", [y], turned, perm=order)
        y = net.node("MatMul", [net.node("Tanh", [x], shape), y], (*shape[:-1], shape[-2]))
        y = net.node("Mul", [y, net.initializer(np.array(1.0 / root))], net.shapes[y])
        if net.coin():
            net.node("Softmax", [y], net.shapes[y], axis=len(shape) - 1)
    elif kind == "einsum" and net.opset >= 12 and len(shape) <= 4:
        letters = "abcd"[: len(shape)]
        weight = net.constant(net.normal(shape[-1], outputs) / root)
        net.node("Einsum", [x, weight], (*shape[:-1], outputs), equation=f"{letters},{letters[-1]}z->{letters[:-1]}z")
    else:
        net.node("MatMul", [x, _weight(net, shape[-1], outputs, inner=shape[-1])], (*shape[:-1], outputs))


def _normalization(net: Network) -> None:
    found = net.some(lambda shape: len(shape) >= 3)
    if found is None:
        return
    x, shape = found
    channels = shape[1]
    kinds = ["InstanceNormalization"]
    kinds += ["LayerNormalization"] if net.opset >= 17 else []
    kinds += ["GroupNormalization"] if net.opset >= 21 else []
    kinds += ["RMSNormalization"] if net.opset >= 23 else []
    kind = net.pick(kinds)
    if kind in ("InstanceNormalization", "GroupNormalization"):
        extra = {"num_groups": net.pick([1, channels])} if kind == "GroupNormalization" else {}
        y = net.node(kind, [x, net.constant(net.normal(channels)), net.constant(net.normal(channels))], shape, **extra)
        if extra:
            net.tell(y)
    else:
        inputs = [x, net.constant(net.normal(shape[-1]))]
        if kind == "LayerNormalization" and net.coin():
            inputs.append(net.constant(net.normal(shape[-1])))
        net.node(kind, inputs, shape)


def _recurrence(net: Network) -> None:
    found = net.some(lambda shape: len(shape) == 3)
    if found is None:
        return
    x, (time, batch, width) = found
    kind, gates = net.pick([("LSTM", 4), ("GRU", 3), ("RNN", 1)])
    inputs = [
        x,
        net.constant(net.normal(1, gates * 2, width) / np.sqrt(width)),
        net.constant(net.normal(1, gates * 2, 2)),
    ]
    if net.coin():
        inputs.append(net.constant(net.normal(1, 2 * gates * 2)))
    y = net.node(kind, inputs, (time, 1, batch, 2), hidden_size=2)
    net.node("Reshape", [y, net.ints(time, batch, 2)], (time, batch, 2))


GROWERS = [
    (_convolution, 3.0, 7), (_transposed_convolution, 0.7, 7), (_gemm, 0.8, 7), (_product, 1.2, 7),
    (_normalization, 0.3, 7), (_recurrence, 0.15, 7),
]  # fmt: skip
"""What grows, its weight, and the first operator set that has it."""

"""How random networks arrange, join, cut, look up, pool and reduce."""

from __future__ import annotations

import numpy as np

from testing.networks import Network, Shape

__all__ = ["GROWERS"]

_MANY = 2000
"""Elements beyond which no value grows."""


def _pool(net: Network) -> None:
    found = net.some(lambda shape: 3 <= len(shape) <= 4 and min(shape[2:]) >= 2)
    if found is None:
        return
    x, (batch, channels, *space) = found
    kinds = ["MaxPool", "MaxPool", "AveragePool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"]
    # onnxruntime has no GlobalLpPool-22, and the narrow networks are judged there.
    kinds += ["GlobalLpPool"] if net.opset < 22 else []
    kind = net.pick(kinds)
    if kind.startswith("Global"):
        net.node(kind, [x], (batch, channels, *[1] * len(space)))
        return
    pad, stride = net.pick([0, 0, 1]), net.pick([1, 1, 2])
    size = [(n + 2 * pad - 2) // stride + 1 for n in space]
    extra = {"count_include_pad": net.between(0, 1)} if kind == "AveragePool" else {}
    net.node(kind, [x], (batch, channels, *size), kernel_shape=[2] * len(space), pads=[pad] * (2 * len(space)),
             strides=[stride] * len(space), **extra)  # fmt: skip


def _join(net: Network) -> None:
    found = net.some(lambda shape: len(shape) >= 2)
    if found is None:
        return
    x, shape = found
    axis = 1 if net.coin(0.8) else net.between(0, len(shape) - 1)

    def fits(other: Shape) -> bool:
        return len(other) == len(shape) and all(
            a == b for i, (a, b) in enumerate(zip(other, shape, strict=True)) if i != axis
        )

    parts = [x, *[str(net.value(fits)) for _ in range(net.between(1, 2))]]
    total = sum(net.shapes[part][axis] for part in parts)
    if net.coin(0.1):
        parts.append(net.constant(net.normal(*shape)))
        total += shape[axis]
    if total <= 12:
        net.node("Concat", parts, (*shape[:axis], total, *shape[axis + 1 :]), axis=axis)


def _cut(net: Network) -> None:
    found = net.some(lambda shape: len(shape) >= 2 and max(shape) >= 2)
    if found is None:
        return
    x, shape = found
    axis = net.pick([i for i, extent in enumerate(shape) if extent >= 2])
    first = net.between(1, shape[axis] - 1)

    def resized(extent: int) -> Shape:
        return (*shape[:axis], extent, *shape[axis + 1 :])

    if net.coin():
        if net.opset < 10:
            net.node("Slice", [x], resized(shape[axis] - first), starts=[first], ends=[shape[axis]], axes=[axis])
        elif net.coin(0.7):
            net.node("Slice", [x, net.ints(first), net.ints(shape[axis]), net.ints(axis)], resized(shape[axis] - first))
        else:
            bounds = [net.ints(n) for n in (-1, -shape[axis] - 1, axis, -2)]
            net.node("Slice", [x, *bounds], resized((shape[axis] + 1) // 2))
        return
    sizes = (first, shape[axis] - first)
    given = [net.ints(*sizes)] if net.opset >= 13 else []
    extra = {} if given else {"split": sizes}
    net.nodes_out("Split", [x, *given], [resized(size) for size in sizes], axis=axis, **extra)


def _with_axes(
    net: Network, op_type: str, x: str, axes: list[int], shape: Shape, since: int, **attributes: int
) -> None:
    """Axes were an attribute before they became an input."""
    if net.opset < since:
        net.node(op_type, [x], shape, axes=axes, **attributes)
    else:
        net.node(op_type, [x, net.ints(*axes)], shape, **attributes)


def _arrange(net: Network) -> None:
    found = net.some()
    assert found is not None
    x, shape = found
    kind = net.pick(["Transpose", "Transpose", "Reshape", "Reshape", "Flatten", "Unsqueeze", "Squeeze"])
    if kind == "Transpose" and len(shape) >= 2:
        order = [int(axis) for axis in net.random.permutation(len(shape))]
        net.node("Transpose", [x], tuple(shape[axis] for axis in order), perm=order)
    elif kind == "Flatten" and len(shape) >= 2:
        axis = net.between(1, len(shape) - 1)
        net.node("Flatten", [x], (int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))), axis=axis)
    elif kind == "Reshape" and len(shape) >= 2:
        at = net.between(0, len(shape) - 2)
        target = [*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]]
        if net.coin() and len(shape) <= 4:
            divisors = [d for d in range(2, shape[at]) if shape[at] % d == 0]
            if divisors:
                divisor = net.pick(divisors)
                target = [*shape[:at], divisor, shape[at] // divisor, *shape[at + 1 :]]
        request = [0 if i < at and net.coin() else extent for i, extent in enumerate(target)]
        if net.coin():
            request[net.between(at, len(request) - 1)] = -1
        net.node("Reshape", [x, net.ints(*request)], tuple(target))
    elif kind == "Unsqueeze" and len(shape) < 5:
        axis = net.between(0, len(shape))
        _with_axes(net, "Unsqueeze", x, [axis], (*shape[:axis], 1, *shape[axis:]), 13)
    elif kind == "Squeeze" and 1 in shape and len(shape) > 2:
        axis = shape.index(1)
        _with_axes(net, "Squeeze", x, [axis], (*shape[:axis], *shape[axis + 1 :]), 13)


def _shuffle(net: Network) -> None:
    """Channel shuffle."""
    found = net.some(lambda shape: len(shape) in (3, 4) and shape[1] % 2 == 0)
    if found is None:
        return
    x, (batch, channels, *space) = found
    parts = (batch, 2, channels // 2, *space)
    y = net.node("Reshape", [x, net.ints(*parts)], parts)
    parts = (batch, channels // 2, 2, *space)
    y = net.node("Transpose", [y], parts, perm=[0, 2, 1, *range(3, len(parts))])
    net.node("Reshape", [y, net.ints(batch, -1, *space)], (batch, channels, *space))


def _enlarge(net: Network) -> None:
    found = net.some(lambda shape: len(shape) >= 2 and int(np.prod(shape)) <= _MANY // 8)
    if found is None:
        return
    x, shape = found
    kind = net.pick(["Pad", "Pad", "Expand", "Tile", "Resize", "DepthToSpace", "SpaceToDepth"])
    if kind == "Pad":
        pads = [0] * (2 * len(shape))
        pads[net.pick([len(shape) - 1, 2 * len(shape) - 1])] = 1
        # Before opset 11 the value is an attribute in single precision, too coarse for networks in double.
        exact = net.opset >= 11 or net.quantized
        mode = net.pick(["constant", "constant", "edge"]) if exact else "edge"
        target = (*shape[:-1], shape[-1] + 1)
        if net.opset < 11:
            net.node("Pad", [x], target, pads=pads, mode=mode, value=net.pick([0.0, 0.5]))
        else:
            fill = [net.initializer(np.array(0.5))] if net.coin(0.3) and mode == "constant" else []
            net.node("Pad", [x, net.ints(*pads), *fill], target, mode=mode)
    elif kind == "Expand" and 1 in shape:
        target = tuple(3 if extent == 1 and net.coin() else extent for extent in shape)
        net.node("Expand", [x, net.ints(*target)], target)
    elif kind == "Tile":
        repeats = [net.pick([1, 1, 2]) for _ in shape]
        net.node("Tile", [x, net.ints(*repeats)], tuple(n * r for n, r in zip(shape, repeats, strict=True)))
    elif kind == "Resize" and len(shape) in (3, 4) and net.opset >= 11:
        target = (*shape[:2], *(n * net.pick([1, 2]) for n in shape[2:]))
        net.node("Resize", [x, "", "", net.ints(*target)], target, mode=net.pick(["nearest", "linear"]))
    elif kind == "DepthToSpace" and len(shape) == 4 and shape[1] % 4 == 0:
        batch, channels, *space = shape
        mode = {"mode": net.pick(["DCR", "CRD"])} if net.opset >= 11 else {}
        net.node("DepthToSpace", [x], (batch, channels // 4, *(2 * n for n in space)), blocksize=2, **mode)
    elif kind == "SpaceToDepth" and len(shape) == 4 and shape[2] % 2 == 0 and shape[3] % 2 == 0 and shape[1] <= 4:
        batch, channels, *space = shape
        net.node("SpaceToDepth", [x], (batch, channels * 4, *(n // 2 for n in space)), blocksize=2)


def _look_up(net: Network) -> None:
    found = net.some(lambda shape: len(shape) >= 2)
    if found is None:
        return
    x, shape = found
    axis = net.pick([1, net.between(0, len(shape) - 1)])
    extent = shape[axis]
    kinds = ["Gather", "Gather", "Gather"]
    kinds += ["GatherElements", "GatherND", "ScatterND"] if net.opset >= 11 else []
    kinds += ["Embedding", "ReverseSequence"] if net.opset >= 10 else []
    kind = net.pick(kinds)
    if kind == "Gather":
        places = net.random.permutation(extent) if net.coin() else net.random.integers(0, extent, net.between(1, 3))
        target = (*shape[:axis], len(places), *shape[axis + 1 :])
        net.node("Gather", [x, net.ints(*places)], target, axis=axis)
    elif kind == "GatherElements":
        target = (*shape[:axis], net.between(1, extent), *shape[axis + 1 :])
        net.node("GatherElements", [x, net.initializer(net.random.integers(0, extent, target))], target, axis=axis)
    elif kind == "GatherND":
        places = net.random.integers(0, shape[0], (2, 1))
        net.node("GatherND", [x, net.initializer(places)], (2, *shape[1:]))
    elif kind == "ScatterND":
        places = net.initializer(np.array([[net.between(0, shape[0] - 1)]], np.int64))
        updates = net.value(lambda other: other == (1, *shape[1:])) or net.constant(net.normal(1, *shape[1:]))
        net.node("ScatterND", [x, places, updates], shape)
    elif kind == "ReverseSequence":
        lengths = net.initializer(net.random.integers(1, shape[1] + 1, shape[0]))
        net.node("ReverseSequence", [x, lengths], shape, batch_axis=0, time_axis=1)
    else:
        table = net.constant(net.normal(5, shape[-1]))
        y = net.node("Gather", [table, net.initializer(net.random.integers(0, 5, shape[:-1]))], shape)
        net.node("Add", [x, y], shape)


def _reduce(net: Network) -> None:
    found = net.some(lambda shape: len(shape) >= 3)
    if found is None:
        return
    x, shape = found
    kind = net.pick(["ReduceMean", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2"])
    axis, keep = net.between(1, len(shape) - 1), net.coin()
    after = tuple(1 if i == axis else extent for i, extent in enumerate(shape) if keep or i != axis)
    _with_axes(net, kind, x, [axis], after, 13 if kind == "ReduceSum" else 18, keepdims=int(keep))


def _sample(net: Network) -> None:
    found = net.some(lambda shape: len(shape) == 4)
    if found is None:
        return
    x, shape = found
    grid = net.initializer(net.random.uniform(-1.2, 1.2, (shape[0], 2, 3, 2)))
    mode = {"mode": "bilinear"} if net.opset < 20 else {}
    padding = net.pick(["zeros", "border", "reflection"])
    net.node("GridSample", [x, grid], (*shape[:2], 2, 3), padding_mode=padding, **mode)


def _triangle(net: Network) -> None:
    found = net.some(lambda shape: len(shape) >= 2)
    if found is not None:
        net.node("Trilu", [found[0]], found[1], upper=net.between(0, 1))


GROWERS = [
    (_pool, 1.0, 7), (_join, 1.0, 7), (_cut, 0.7, 7), (_arrange, 1.6, 7), (_shuffle, 0.2, 7), (_enlarge, 0.8, 8),
    (_look_up, 0.6, 7), (_reduce, 0.5, 7), (_sample, 0.15, 16), (_triangle, 0.1, 14),
]  # fmt: skip
"""What grows, its weight, and the first operator set that has it."""

"""Operators that arrange axes, join, cut, look up, and lay out space anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testing.builder import QUICK
from tests.affine.around import Case, Surroundings, check_around


def _transpose(net: Surroundings, x: str) -> str:
    order = net.draw(st.permutations(range(len(net.shape(x)))))
    return net.node("Transpose", x, **({"perm": order} if net.coin() else {}))


def _reshape(net: Surroundings, x: str) -> str:
    shape = list(net.shape(x))
    target = list(shape)
    for _ in range(net.pick(1, 1, 2)):
        at = net.draw(st.integers(0, len(target) - 1))
        divisors = [d for d in range(2, target[at]) if target[at] % d == 0]
        if divisors and net.coin() and len(target) < 5:
            divisor = net.pick(*divisors)
            target[at : at + 1] = [divisor, target[at] // divisor]
        elif at + 1 < len(target):
            target[at : at + 2] = [target[at] * target[at + 1]]
        elif len(target) < 5:
            target.insert(at, 1)
    request = [0 if i < len(shape) and extent == shape[i] and net.coin() else extent for i, extent in enumerate(target)]
    if net.coin():
        request[net.draw(st.integers(0, len(request) - 1))] = -1
    return net.node("Reshape", x, net.ints(*request))


def _shuffle(net: Surroundings, x: str) -> str:
    """Channel shuffle: reshape, transpose, reshape."""
    shape = net.shape(x)
    groups = net.pick(*[g for g in range(1, shape[1] + 1) if shape[1] % g == 0])
    y = net.node("Reshape", x, net.ints(shape[0], groups, shape[1] // groups, *shape[2:]))
    y = net.node("Transpose", y, perm=[0, 2, 1, *range(3, len(shape) + 1)])
    return net.node("Reshape", y, net.ints(0, shape[1], *shape[2:]))


def _flatten(net: Surroundings, x: str) -> str:
    rank = len(net.shape(x))
    return net.node("Flatten", x, axis=net.draw(st.integers(-rank, rank)))


def _squeeze(net: Surroundings, x: str) -> str:
    rank = len(net.shape(x))
    axis = net.draw(st.integers(-rank - 1, rank))
    y = net.node("Unsqueeze", x, net.ints(axis))
    y = net.pick(lambda v: v, lambda v: net.node("Relu", v), net.norm)(y)
    axes = [i for i, extent in enumerate(net.shape(y)) if extent == 1]
    return net.node("Squeeze", y, *([net.ints(*axes)] if net.coin() else []))


def _unsqueeze(net: Surroundings, x: str) -> str:
    rank = len(net.shape(x))
    axes = net.draw(st.lists(st.integers(0, rank + 1), min_size=1, max_size=2, unique=True))
    axes = [axis for axis in axes if axis < rank + len(axes)] or [0]
    return net.node("Unsqueeze", x, net.ints(*axes))


def _expand(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    target = [net.pick(1, extent, 2) if extent == 1 else net.pick(1, extent) for extent in shape]
    return net.node("Expand", x, net.ints(*[net.pick(1, 2)][: net.pick(0, 0, 1)], *target))


def _concat(net: Surroundings, x: str) -> str | list[str]:
    shape = net.shape(x)
    axis = net.draw(st.integers(-len(shape), len(shape) - 1))
    parts, made = [x], []
    for index in range(net.pick(1, 1, 2)):
        other = net.pick("itself", "branch", "norm", "norm", "input", "constant", "linear")
        if other == "itself":
            part = x
        elif other == "branch":
            part = net.node(net.pick("Relu", "Sigmoid"), x)
        elif other == "norm":
            part = net.norm(x)
        elif other == "input":
            part = net.input(shape, name=f"other{index}")
        elif other == "linear":
            y = net.linear(x)
            part = y if len(net.shape(y)) == len(shape) and all(
                a == b or i == axis % len(shape) for i, (a, b) in enumerate(zip(net.shape(y), shape, strict=True))
            ) else x  # fmt: skip
        else:
            part = net.constant(net.normal(*shape))
        parts.append(part)
        if net.coin() and part not in (x, "constant") and not part.startswith(("c", "other")):
            made.append(part)
    return [net.node("Concat", *net.draw(st.permutations(parts)), axis=axis), *made]


def _split(net: Surroundings, x: str) -> list[str]:
    shape = net.shape(x)
    axis = net.draw(st.integers(0, len(shape) - 1))
    if shape[axis] < 2:
        axis = int(np.argmax(shape))
    first = net.draw(st.integers(1, shape[axis] - 1))
    if shape[axis] % 2 == 0 and net.coin():
        return net.nodes_out("Split", x, outputs=2, axis=axis, num_outputs=2)
    return net.nodes_out("Split", x, net.ints(first, shape[axis] - first), outputs=2, axis=axis - len(shape))


def _slice(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    axes = net.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=2, unique=True))
    starts, ends, steps = [], [], []
    for axis in axes:
        extent = shape[axis]
        step = net.pick(1, 1, 2, -1, -2)
        low = net.draw(st.integers(0, extent - 1))
        high = net.draw(st.integers(low + 1, extent))
        if step > 0:
            bounds = (net.pick(low, low - extent), net.pick(high, 2**31 - 1 if high == extent else high))
        else:
            bounds = (high - 1, low - 1 if low else net.pick(-(2**31), -extent - 1, -1000))
        starts.append(bounds[0])
        ends.append(bounds[1])
        steps.append(step)
    axes = [axis - len(shape) if net.coin() else axis for axis in axes]
    return net.node("Slice", x, net.ints(*starts), net.ints(*ends), net.ints(*axes), net.ints(*steps))


def _gather(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    axis = net.draw(st.integers(-len(shape), len(shape) - 1))
    extent = shape[axis]
    places = st.integers(-extent, extent - 1)
    what = net.pick("vector", "vector", "permutation", "scalar", "matrix")
    if what == "scalar" and len(shape) > 2:
        indices = np.array(net.draw(places))
    elif what == "matrix" and len(shape) < 5:
        indices = np.array(net.draw(st.lists(places, min_size=2, max_size=2))).reshape(1, 2)
    elif what == "permutation":
        indices = np.array(net.draw(st.permutations(range(extent))))
    else:
        indices = np.array(net.draw(st.lists(places, min_size=1, max_size=3)))
    return net.node("Gather", x, net.constant(indices.astype(np.int64)), axis=axis)


def _embedding(net: Surroundings, x: str) -> str:
    """A constant table, looked up at places that an input gives; x is only there for company."""
    places = net.input((2, 3), name="places", element=7)
    y = net.node("Gather", net.constant(net.normal(2, 4)), places, axis=net.pick(0, 0, 0, -2))
    return net.norm(y) if net.coin() else net.node("Transpose", y, perm=[0, 2, 1])


def _pad(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    axes = net.draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=len(shape), unique=True))
    mode = net.pick("constant", "constant", "edge", "reflect", "wrap")
    limit = [shape[axis] - 1 for axis in axes] * 2
    pads = [min(net.pick(0, 1, 0, -1 if mode == "constant" else 0), n) for n in limit]
    pads = [pad if shape[axis] > 2 or pad >= 0 else 0 for pad, axis in zip(pads, axes * 2, strict=True)]
    value = net.pick("", net.constant(np.array(0.0)), net.constant(np.array(1.5)))
    if mode != "constant":
        value = ""
    return net.node("Pad", x, net.ints(*pads), value, net.ints(*axes), mode=mode)


def _resize(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    mode = net.pick("nearest", "linear")
    coordinates = net.pick("half_pixel", "asymmetric", "align_corners")
    if net.coin():
        scales = [1.0, 1.0, *[net.pick(1.0, 2.0, 1.5) for _ in shape[2:]]]
        sizes: tuple[str, ...] = (net.constant(np.array(scales), dtype=np.float32),)
    else:
        sizes = ("", net.ints(*shape[:2], *[net.pick(1, n, 2 * n) for n in shape[2:]]))
    return net.node("Resize", x, "", *sizes, mode=mode, coordinate_transformation_mode=coordinates)


def _resized_channels(net: Surroundings, x: str) -> str:
    """Even the channels can be resized; 1.2 times three is three again, but of other values."""
    shape = net.shape(x)
    scales = net.constant(np.array([1.0, 1.2, *[1.0] * (len(shape) - 2)]), dtype=np.float32)
    if net.coin():
        axis_scale = net.constant(np.array([1.2]), dtype=np.float32)
        return net.node("Resize", x, "", axis_scale, axes=[1], mode="linear")
    return net.node("Resize", x, "", scales, mode="linear")


def _depth_to_space(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    y = net.conv(x, shape[1], 4 * net.pick(1, 2), (1, 1))
    if net.coin():
        y = net.norm(y)
    return net.node("DepthToSpace", y, blocksize=2, mode=net.pick("DCR", "CRD"))


def _space_to_depth(net: Surroundings, x: str) -> str:
    y = net.node("Resize", x, "", net.constant(np.array([1, 1, 2, 2.0]), dtype=np.float32), mode="nearest")
    return net.node("SpaceToDepth", net.norm(y) if net.coin() else y, blocksize=2)


def _tile(net: Surroundings, x: str) -> str:
    return net.node("Tile", x, net.ints(*[net.pick(1, 1, 2) for _ in net.shape(x)]))


def _places(net: Surroundings, extent: int, shape: list[int]) -> str:
    """Indices below `extent`, given or constant."""
    if net.coin():
        return net.input(shape, name="places", element=7)
    return net.constant(net.random.integers(-extent, extent, shape))


def _gather_elements(net: Surroundings, x: str) -> str:
    shape = list(net.shape(x))
    axis = net.draw(st.integers(0, len(shape) - 1))
    if shape[axis] < 2:
        axis = int(np.argmax(shape))
    extents = [net.pick(extent, extent, max(extent - 1, 1)) for extent in shape]
    extents[axis] = net.pick(1, 2, shape[axis])
    return net.node("GatherElements", x, _places(net, shape[axis], extents), axis=axis - net.pick(0, len(shape)))


def _gather_nd(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    depth = net.draw(st.integers(1, len(shape) - 1))
    batch = net.pick(0, 0, 1) if len(shape) > depth + 1 and net.opsets[""] >= 12 else 0
    looked_up = shape[batch : batch + depth]
    count = net.pick(1, 2, 3)
    indices = np.stack([net.random.integers(0, extent, (*shape[:batch], count)) for extent in looked_up], axis=-1)
    if all(extent >= 2 for extent in looked_up) and net.coin():
        places = net.input(indices.shape, name="places", element=7)
    else:
        places = net.constant(indices)
    return net.node("GatherND", x, places, batch_dims=batch)


def _scatter_nd(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    depth = net.draw(st.integers(1, len(shape)))
    flat = net.random.permutation(int(np.prod(shape[:depth])))[: net.pick(1, 2)]
    places = np.stack(np.unravel_index(flat, shape[:depth]), axis=-1)
    extents = (len(places), *shape[depth:])
    what = net.pick("constant", "input", "part")
    if what == "part":
        updates = net.node("GatherND", net.norm(x), net.constant(places))
    else:
        updates = net.constant(net.normal(*extents)) if what == "constant" else net.input(extents, name="updates")
    extra = {"reduction": net.pick("none", "add", "mul", "max")} if net.coin() else {}
    return net.node("ScatterND", x, net.constant(places), updates, **extra)


def _scatter_elements(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    axis = net.draw(st.integers(0, len(shape) - 1))
    extents = [extent if net.coin() else net.pick(1, extent) for extent in shape]
    extents[axis] = net.pick(1, shape[axis])
    # Each place along the axis is written once.
    orders = np.argsort(net.random.random((*extents[:axis], shape[axis], *extents[axis + 1 :])), axis=axis)
    places = net.constant(np.take(orders, range(extents[axis]), axis=axis))
    what = net.pick("constant", "input", "part")
    if what == "part":
        updates = net.node("GatherElements", net.norm(x), places, axis=axis)
    else:
        updates = net.constant(net.normal(*extents)) if what == "constant" else net.input(extents, name="updates")
    extra = {"reduction": net.pick("none", "add", "mul", "max")} if net.opsets[""] >= 18 and net.coin() else {}
    return net.node("ScatterElements", x, places, updates, axis=axis - net.pick(0, len(shape)), **extra)


def _reverse_sequence(net: Surroundings, x: str) -> str:
    shape = net.shape(x)
    batch_axis = net.pick(0, 1)
    lengths = net.random.integers(1, shape[1 - batch_axis] + 1, shape[batch_axis])
    return net.node("ReverseSequence", x, net.constant(lengths), batch_axis=batch_axis, time_axis=1 - batch_axis)


def _trilu(net: Surroundings, x: str) -> str:
    offset = [net.constant(np.array(net.pick(-1, 0, 1), np.int64))] if net.coin() else []
    return net.node("Trilu", x, *offset, upper=net.pick(0, 1))


def _grid_sample(net: Surroundings, x: str) -> str:
    grid = net.input((net.shape(x)[0], 2, 3, 2), name="grid")
    grid = net.node("Tanh", grid) if net.coin() else grid
    mode = net.pick("bilinear", "nearest", "bicubic")
    padding = net.pick("zeros", "border", "reflection")
    return net.node("GridSample", x, grid, mode=mode, padding_mode=padding, align_corners=net.pick(0, 1))


CASES: dict[str, tuple[Case, tuple[int, ...]]] = {
    "Transpose": (_transpose, (2, 3, 4)),
    "Reshape": (_reshape, (2, 3, 4)),
    "a channel shuffle": (_shuffle, (3, 4)),
    "Flatten": (_flatten, (2, 3, 4)),
    "Squeeze": (_squeeze, (2, 3)),
    "Unsqueeze": (_unsqueeze, (2, 3)),
    "Expand": (_expand, (2, 3, 4)),
    "Concat": (_concat, (2, 3, 4)),
    "Split": (_split, (2, 3, 4)),
    "Slice": (_slice, (2, 3, 4)),
    "Gather": (_gather, (2, 3, 4)),
    "an embedding": (_embedding, (2,)),
    "Pad": (_pad, (2, 3, 4)),
    "Resize": (_resize, (3, 4)),
    "Resize of channels": (_resized_channels, (3, 4)),
    "DepthToSpace": (_depth_to_space, (4,)),
    "SpaceToDepth": (_space_to_depth, (4,)),
    "Tile": (_tile, (2, 3, 4)),
    "GatherElements": (_gather_elements, (2, 3, 4)),
    "GatherND": (_gather_nd, (2, 3, 4)),
    "ScatterND": (_scatter_nd, (2, 3, 4)),
    "ScatterElements": (_scatter_elements, (2, 3, 4)),
    "ReverseSequence": (_reverse_sequence, (2, 3, 4)),
    "Trilu": (_trilu, (2, 3, 4)),
    "GridSample": (_grid_sample, (4,)),
}


@pytest.mark.parametrize("name", CASES)
@QUICK
@given(data=st.data())
def test_around(name: str, data: st.DataObject) -> None:
    case, ranks = CASES[name]
    check_around(data.draw, case, ranks=ranks)


def _upsample(net: Surroundings, x: str) -> str:
    scales = [1.0, 1.0, *[net.pick(1.0, 2.0, 3.0) for _ in net.shape(x)[2:]]]
    return net.node("Upsample", x, net.constant(np.array(scales), dtype=np.float32), mode="nearest")


@QUICK
@given(data=st.data())
def test_around_upsample(data: st.DataObject) -> None:
    check_around(data.draw, _upsample, ranks=(3, 4), opset=9)

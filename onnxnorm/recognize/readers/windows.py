"""Sums over windows: AveragePool, convolutions with equal weights, sums of slices, differences of cumulated sums, each
behind a Pad (or a Concat with zeros) or with its own.

All become `Window` atoms: the sum over positions `first` to `last` around each position, zero outside. An average that
counts fewer positions at the border is no such sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from onnxnorm.graph.windows import read_window
from onnxnorm.recognize.coefficients import Array
from onnxnorm.recognize.form import Form
from onnxnorm.recognize.monomials import Stack, Unreadable
from onnxnorm.recognize.polynomial import Poly
from onnxnorm.recognize.readers.operands import ReadSite

__all__ = ["READERS", "WINDOWS"]

WINDOWS: frozenset[str] = frozenset({"AveragePool", "Conv", "CumSum", "Slice"})

_FAR = 2**31 - 1


def _pad(site: ReadSite) -> Form:
    form = site.form()
    if site.text("mode", "constant") != "constant":
        raise Unreadable("a Pad that repeats values")
    if site.opset < 11:
        pads, fill = site.ints("pads"), site.real("value", 0.0)
    else:
        pads = site.integers(1, "")
        fill = 0.0 if site.value(2) is None else site.number(2)
    rank = len(form.layout)
    axes = site.integers(3, "") if site.value(3) is not None else tuple(range(rank))
    if pads is None or axes is None or len(pads) != 2 * len(axes) or min(pads) < 0:
        raise Unreadable("a Pad whose extent is not known")
    if fill != 0 and any(pads):
        raise Unreadable("a Pad with another value than zero")
    for position, axis in enumerate(axes):
        form = _padded(form, axis, pads[position], pads[position + len(axes)])
    return form


def _padded(form: Form, dimension: int, before: int, after: int) -> Form:
    if form.poly.is_cumulated and (before or after):
        raise Unreadable("a Pad of a cumulated sum")
    padding = list(form.padding)
    own = padding[dimension]
    padding[dimension] = (own[0] + before, own[1] + after)
    return replace(form, padding=tuple(padding))


def _concat(site: ReadSite) -> Form:
    """Read a Concat: zeros on either side pad; parts of extent 1 of which a sum is taken are a window in pieces."""
    known = [None if value is None else site.forms.get(value) for value in site.node.inputs]
    parts = [form for form in known if form is not None]
    first = parts[0]
    dimension = site.whole("axis", 1) % len(first.layout)
    if len(parts) == 1:
        place = known.index(first)
        lengths = [0, 0]
        for index in range(len(known)):
            array = site.constant(index) if index != place else None
            if array is None:
                continue
            if np.any(array):
                raise Unreadable("values put beside it that are not zero")
            lengths[index > place] += array.shape[dimension]
        return _padded(first, dimension, *lengths)
    if len(parts) < len(known) or any(
        form.layout != first.layout or form.is_padded or form.is_stacked or form.layout[dimension] for form in parts
    ):
        raise Unreadable("parts of different kinds put side by side")
    atom = Stack(tuple(form.poly for form in parts))
    return Form.of(Poly({frozenset({(atom, 1.0)}): np.ones((1,) * first.poly.rank)}, first.poly.rank), first.layout)


def _cumulated(site: ReadSite) -> Form:
    form, axis = site.form(), site.number(1)
    rank = len(form.layout)
    if site.whole("reverse", 0) or axis % 1 or not -rank <= axis < rank:
        raise Unreadable("a cumulated sum from the end")
    dimension = int(axis) % rank
    entry = form.layout[dimension]
    if len(entry) != 1 or any(pads != (0, 0) for d, pads in enumerate(form.padding) if d != dimension):
        raise Unreadable("a cumulated sum over something else than one axis of the input")
    return replace(form, poly=form.poly.cumulated(entry[0], -1 if site.whole("exclusive", 0) else 0))


def _own_pads(site: ReadSite, kernel: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return what the operator pads, of a window that is put on every place and whose taps lie side by side."""
    window = read_window(site.node, kernel)
    if window is None:
        raise Unreadable("a window whose attributes are not known")
    for name, steps in (("strides", window.strides), ("dilations", window.dilations)):
        if any(step != 1 for step in steps):
            raise Unreadable(f"a window with {name} other than 1")
    padding = window.padding_on(())
    if padding is None:
        raise Unreadable("a window whose padding is not known")
    return list(padding)


def _window(
    form: Form, kernel: tuple[int, ...], pads: list[tuple[int, int]], first: int = 2
) -> tuple[tuple[int, int, int], ...]:
    """Return the reach along axes of X of a window over the dimensions from `first` on, which keeps every extent."""
    if any(own != (0, 0) for own in form.padding[:first]):
        raise Unreadable("a Pad along an axis that no window runs over")
    reach = []
    for entry, outer, inner, n in zip(form.layout[first:], form.padding[first:], pads, kernel, strict=True):
        before, after = outer[0] + inner[0], outer[1] + inner[1]
        if before + after != n - 1:
            raise Unreadable("a window that changes the extent of the tensor")
        if n == 1:
            continue
        if len(entry) != 1:
            raise Unreadable("a window over something else than one axis of the input")
        reach.append((entry[0], -before, after))
    return tuple(sorted(reach))


def _average_pool(site: ReadSite) -> Form:
    form, kernel = site.form(), site.ints("kernel_shape")
    if kernel is None or len(kernel) + 2 != len(form.layout):
        raise Unreadable("a pool of another rank")
    pads = _own_pads(site, kernel)
    if any(pad != (0, 0) for pad in pads) and not site.whole("count_include_pad", 0):
        raise Unreadable("it divides by the number of positions inside the border (count_include_pad = 0)")
    reach = _window(form, kernel, pads)
    poly = form.poly.windowed(reach) if reach else form.poly
    return Form.of(poly.scaled(1 / math.prod(kernel)), form.layout)


def _conv(site: ReadSite) -> Form:
    form = site.form()
    if form.poly == Poly.input(form.poly.rank):
        # The usual convolution: nothing to read, and its weights may be large.
        raise Unreadable("a convolution of the input itself")
    weight = site.constant(1)
    if weight is None or weight.ndim != len(form.layout) or form.layout[0] == form.layout[1]:
        raise Unreadable("a convolution of another rank")
    weights = np.asarray(weight, np.float64)
    kernel = weights.shape[2:]
    pads, group = _own_pads(site, kernel), site.whole("group", 1)
    channels = form.layout[1]
    bias = site.constant(2)
    layout = form.layout
    if len(channels) == 1 and group == 1 and all(n == 1 for n in kernel):
        _window(form, kernel, pads)
        poly = _banded(form, weights.reshape(weights.shape[:2]), site)
    elif (not channels and weights.shape[:2] == (1, 1)) or (
        len(channels) == 1 and weights.shape[1] == 1 and group == weights.shape[0] == site.extents.get(channels[0])
    ):
        if np.any(weights != weights.flat[0]) or weights.flat[0] == 0:
            raise Unreadable("a convolution whose weights are not all equal")
        reach = _window(form, kernel, pads)
        poly = (form.poly.windowed(reach) if reach else form.poly).scaled(float(weights.flat[0]))
    else:
        raise Unreadable("a convolution that mixes channels")
    if bias is not None:
        poly = poly + _along(np.asarray(bias, np.float64), channels, poly.rank)
    return Form.of(poly, layout)


def _along(values: Array, channels: tuple[int, ...], rank: int) -> Poly:
    if np.all(values == values.flat[0]):
        return Poly.constant(np.full((1,) * rank, values.flat[0]), rank)
    if len(channels) != 1:
        raise Unreadable("a convolution with several biases")
    return Poly.constant(values.reshape([-1 if axis == channels[0] else 1 for axis in range(rank)]), rank)


def _banded(form: Form, matrix: Array, site: ReadSite) -> Poly:
    """Read a 1x1 convolution whose matrix has one value on some diagonals: it sums over a window of channels."""
    axis = form.layout[1][0]
    if matrix.shape[0] != matrix.shape[1] or site.extents.get(axis) != matrix.shape[0]:
        raise Unreadable("a convolution that changes the number of channels")
    outputs, inputs = np.nonzero(matrix)
    if not len(outputs):
        raise Unreadable("a convolution with weights of zero")
    first, last = int((inputs - outputs).min()), int((inputs - outputs).max())
    channels = np.arange(matrix.shape[0])
    offsets = channels[None, :] - channels[:, None]
    value = float(matrix[outputs[0], inputs[0]])
    if not np.array_equal(matrix, np.where((offsets >= first) & (offsets <= last), value, 0.0)):
        raise Unreadable("a convolution whose weights form no window")
    return form.poly.windowed(((axis, first, last),)).scaled(value)


def _slice(site: ReadSite) -> Form:
    """Read a Slice of a padded value: it takes one of the positions around each, a window of one."""
    form = site.form()
    if site.opset < 10:
        starts, ends, axes, steps = site.ints("starts"), site.ints("ends"), site.ints("axes"), None
    else:
        starts, ends, axes, steps = (site.integers(index, "") for index in (1, 2, 3, 4))
    if starts is None or ends is None or len(starts) != 1 or (steps is not None and steps != (1,)):
        raise Unreadable("a Slice along several axes")
    dimension = (axes or (0,))[0] % len(form.layout)
    entry, (before, after) = form.layout[dimension], form.padding[dimension]
    if len(entry) != 1 or (before, after) == (0, 0):
        raise Unreadable("a Slice of a value that is not padded")
    extent = site.extents.get(entry[0])
    start, end = starts[0], ends[0]
    if extent is not None:
        whole = extent + before + after
        start, end = (n + whole if n < 0 else n for n in (start, end))
        length = min(end, whole) - start
        fits = length == extent
    else:
        # Up to k before the end of what is padded by k + start in all.
        behind = before + after - start
        fits = start >= 0 and (end == -behind if behind else end >= _FAR)
    if not fits:
        raise Unreadable("a Slice that changes the extent of the tensor")
    offset = start - before
    padding = tuple((0, 0) if axis == dimension else pads for axis, pads in enumerate(form.padding))
    return replace(form, poly=form.poly.shifted(entry[0], offset), padding=padding)


READERS: Mapping[str, Callable[[ReadSite], Form]] = {
    "AveragePool": _average_pool,
    "Concat": _concat,
    "Conv": _conv,
    "CumSum": _cumulated,
    "Pad": _pad,
    "Slice": _slice,
}

"""Reads operators that lay a value out anew: which dimension of the result runs over which axes of X."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as ir

from onnxnorm.graph.facts import Dim
from onnxnorm.graph.nodes import is_standard, producer_of
from onnxnorm.recognize.form import Form, Layout
from onnxnorm.recognize.monomials import Unreadable
from onnxnorm.recognize.readers.operands import ReadSite

__all__ = ["READERS"]


def _laid(form: Form, layout: Layout) -> Form:
    if form.is_padded:
        raise Unreadable("a padded value that is laid out anew")
    return Form.of(form.poly, layout)


def _transpose(site: ReadSite) -> Form:
    form = site.form()
    order = site.ints("perm") or tuple(reversed(range(len(form.layout))))
    layout = tuple(form.layout[axis] for axis in order)
    return Form(form.poly, layout, tuple(form.padding[axis] for axis in order))


def _unsqueeze(site: ReadSite) -> Form:
    form, axes = site.form(), site.integers(1, "axes")
    if axes is None:
        raise Unreadable("new axes that are not constant")
    rank = len(form.layout) + len(axes)
    new = {axis % rank for axis in axes}
    entries = iter(zip(form.layout, form.padding, strict=True))
    pairs = [((), (0, 0)) if axis in new else next(entries) for axis in range(rank)]
    return Form(form.poly, tuple(layout for layout, _ in pairs), tuple(pads for _, pads in pairs))


def _squeeze(site: ReadSite) -> Form:
    form, axes = site.form(), site.integers(1, "axes")
    rank = len(form.layout)
    if axes is None:
        raise Unreadable("a Squeeze of whatever has extent 1")
    gone = {axis % rank for axis in axes}
    if any(form.layout[axis] and not _is_one(site, form.layout[axis]) for axis in gone):
        raise Unreadable("a Squeeze of an axis of the input")
    if any(form.padding[axis] != (0, 0) for axis in gone):
        raise Unreadable("a padded value that is laid out anew")
    kept = [axis for axis in range(rank) if axis not in gone]
    return Form(form.poly, tuple(form.layout[a] for a in kept), tuple(form.padding[a] for a in kept))


def _is_one(site: ReadSite, entry: tuple[int, ...]) -> bool:
    return all(site.extents.get(axis) == 1 for axis in entry)


def _reshape(site: ReadSite) -> Form:
    """Read a Reshape: the dimensions of the result take the axes in order, as many as their extents multiply up to."""
    form = site.form()
    wanted = _wanted(form, site)
    if wanted is None:
        raise Unreadable("a Reshape to a shape that is not known")
    return _laid(form, _grouped(form.layout, wanted, site))


def _wanted(form: Form, site: ReadSite) -> tuple[Dim, ...] | None:
    """Return the shape of the result as it is asked for, and as it was inferred where the request does not tell."""
    requested = _requested(site.value(1), form, site) if site.opset >= 5 else site.ints("shape")
    inferred = site.facts.shape(site.node.outputs[0])
    if requested is None or inferred is None or len(requested) != len(inferred):
        return inferred if requested is None else requested
    return tuple(own if dim is None else dim for dim, own in zip(requested, inferred, strict=True))


def _requested(value: ir.Value | None, form: Form, site: ReadSite) -> tuple[Dim, ...] | None:
    """Return the shape asked for, from a constant or from extents of X put together at run time.

    None where not known.
    """
    constant = site.facts.constant(value)
    if constant is not None:
        numbers = [int(entry) for entry in constant.ravel()]
        kept = [_dim_of(form.layout[i], site) if i < len(form.layout) else None for i in range(len(numbers))]
        return tuple(None if n < 0 else kept[i] if n == 0 else n for i, n in enumerate(numbers))
    node = producer_of(value)
    if node is None or not is_standard(node):
        return None
    if node.op_type == "Shape":
        source = None if node.inputs[0] is None else site.forms.get(node.inputs[0])
        if source is None or source.is_padded:
            return None
        dims = tuple(_dim_of(entry, site) for entry in source.layout)
        start, end = (node.attributes.get(name) for name in ("start", "end"))
        return dims[None if start is None else start.as_int() : None if end is None else end.as_int()]
    if node.op_type in ("Cast", "Reshape", "Squeeze", "Unsqueeze") and node.inputs[0] is not None:
        return _requested(node.inputs[0], form, site)
    if node.op_type == "Gather":
        dims_of = _requested(node.inputs[0], form, site)
        place = site.facts.constant(node.inputs[1])
        if dims_of is None or place is None or place.size != 1:
            return None
        index = int(place.reshape(()))
        return (dims_of[index],) if -len(dims_of) <= index < len(dims_of) else None
    if node.op_type == "Concat":
        parts = [_requested(operand, form, site) for operand in node.inputs]
        return None if None in parts else tuple(dim for part in parts if part is not None for dim in part)
    return None


def _dim_of(entry: tuple[int, ...], site: ReadSite) -> Dim:
    if len(entry) == 1:
        return site.shape[entry[0]]
    sizes = [site.extents.get(axis) for axis in entry]
    product = 1
    for size in sizes:
        if size is None:
            return None
        product *= size
    return product


def _grouped(layout: Layout, wanted: tuple[Dim, ...], site: ReadSite) -> Layout:
    axes = [axis for entry in layout for axis in entry]
    if not axes:
        if all(dim == 1 for dim in wanted):
            return ((),) * len(wanted)
        raise Unreadable("a Reshape that takes axes apart")
    front, axes_left = _from_front(axes, wanted, site)
    back, middle = _from_front(axes_left[::-1], wanted[len(front) :][::-1], site)
    between = len(wanted) - len(front) - len(back)
    back = [entry[::-1] for entry in back[::-1]]
    middle = middle[::-1]
    if between == 0 and not middle:
        return tuple(front) + tuple(back)
    # One dimension whose extent is not known takes all that is left.
    if between == 1 and middle:
        return (*front, tuple(middle), *back)
    raise Unreadable("a Reshape that takes axes apart")


def _from_front(axes: list[int], wanted: tuple[Dim, ...], site: ReadSite) -> tuple[list[tuple[int, ...]], list[int]]:
    """Return the dimensions whose axes are certain, read from one end, and the axes that are left."""
    taken: list[tuple[int, ...]] = []
    left = list(axes)
    for dim in wanted:
        if dim == 1 and not (left and site.extents.get(left[0]) == 1):
            taken.append(())
        elif left and dim is not None and site.shape[left[0]] == dim:
            taken.append((left.pop(0),))
        elif isinstance(dim, int):
            product, count = 1, 0
            while count < len(left) and product < dim and isinstance(site.shape[left[count]], int):
                product *= site.extents[left[count]]
                count += 1
            if product != dim or count == 0:
                break
            taken.append(tuple(left[:count]))
            del left[:count]
        else:
            break
    return taken, left


def _flatten(site: ReadSite) -> Form:
    form = site.form()
    axis = site.whole("axis", 1) % (len(form.layout) + 1)
    head, tail = form.layout[:axis], form.layout[axis:]
    return _laid(form, tuple(tuple(axis for entry in part for axis in entry) for part in (head, tail)))


def _expand(site: ReadSite) -> Form:
    """Read an Expand to the value's own shape, or to that of X: dimensions of extent 1 then run over the axes of X."""
    form = site.form()
    wanted = _wanted(form, site)
    if wanted is None or len(wanted) != len(form.layout) or form.is_padded:
        raise Unreadable("an Expand to a shape that is not known")
    source = site.value(1)
    producer = producer_of(source)
    whole = producer is not None and producer.op_type == "Shape" and not producer.attributes
    like = site.forms.get(producer.inputs[0]) if whole and producer and producer.inputs[0] is not None else None
    layout = []
    for axis, (entry, dim) in enumerate(zip(form.layout, wanted, strict=True)):
        own = (axis,) if len(form.layout) == form.poly.rank else ()
        if dim == 1 or (entry and (dim == _dim_of(entry, site) or (like and like.layout[axis] == entry))):
            layout.append(entry)
        elif not entry and own and (
            (dim is not None and dim == site.shape[axis]) or (like is not None and like.layout[axis] == own)
        ):  # fmt: skip
            layout.append(own)
        else:
            raise Unreadable("another shape than that of the input")
    return _laid(form, tuple(layout))


READERS: Mapping[str, Callable[[ReadSite], Form]] = {
    "Expand": _expand,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

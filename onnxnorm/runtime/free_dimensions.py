"""Resolves the free dimensions of inputs: sizes for their names, and for those that have none."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence

from onnxnorm.errors import OnnxNormError
from onnxnorm.runtime.inputs import InputSpec, unnamed

__all__ = ["groupings_of", "size_of", "sizes_of", "symbols_of"]

_BATCH_SIZES = (2, 1, 3)
_SEQUENCE_SIZES = (7, 16, 5)
_SPATIAL_SIZES = (32, 41, 48)


def groupings_of(specs: Sequence[InputSpec]) -> list[dict[str, str]]:
    """List ways to take dimensions without a name for the same: each maps them to what they are called together.

    Alike are those at the same axis, or those that come first, second... among the axes of their inputs, or none.
    """
    by_axis, by_order, apart = {}, {}, {}
    for spec in specs:
        free = [axis for axis, dim in enumerate(spec.dims or ()) if dim == unnamed(spec.name, axis)]
        for order, axis in enumerate(free):
            symbol = unnamed(spec.name, axis)
            by_axis[symbol], by_order[symbol], apart[symbol] = f"axis {axis}", f"free {order}", symbol
    found: list[dict[str, str]] = []
    for grouping in (by_axis, by_order, apart):
        members = [{s for s, g in grouping.items() if g == group} for group in grouping.values()]
        if all(members != [{s for s, g in each.items() if g == group} for group in each.values()] for each in found):
            found.append(grouping)
    return found


def sizes_of(
    symbols: Mapping[str, tuple[int, ...]],
    grouping: Mapping[str, str],
    given: Mapping[str, int],
    index: int,
    size: int | None = None,
) -> dict[str, int]:
    """Return a size for each free dimension; `size` is that of all but batches."""
    groups: dict[str, list[str]] = {}
    for symbol in symbols:
        groups.setdefault(grouping.get(symbol, symbol), []).append(symbol)
    sizes: dict[str, int] = {}
    is_apart = len(grouping) > 1 and all(group == symbol for symbol, group in grouping.items())
    for place, members in enumerate(groups.values()):
        known = [given[symbol] for symbol in members if symbol in given]
        kinds = [symbols[symbol] for symbol in members]
        kind = _BATCH_SIZES if _BATCH_SIZES in kinds else kinds[0]
        chosen = kind[index % len(kind)] + (8 * place if kind is _SPATIAL_SIZES else place if is_apart else 0)
        if size is not None and kind is not _BATCH_SIZES:
            chosen = size
        sizes.update(dict.fromkeys(members, known[0] if known else chosen))
    return {**sizes, **given}


def symbols_of(specs: Sequence[InputSpec]) -> dict[str, tuple[int, ...]]:
    """Return the names of the free dimensions with the sizes that suit their place."""
    symbols: dict[str, tuple[int, ...]] = {}
    for spec in specs:
        for axis, dim in enumerate(spec.dims or ()):
            for name in _names(dim):
                if axis == 0:
                    symbols[name] = _BATCH_SIZES
                else:
                    spatial = axis >= 2 and len(spec.dims or ()) >= 4
                    symbols.setdefault(name, _SPATIAL_SIZES if spatial else _SEQUENCE_SIZES)
    return symbols


def _names(dim: int | str) -> list[str]:
    if isinstance(dim, int):
        return []
    try:
        tree = ast.parse(dim, mode="eval")
    except SyntaxError:
        return [dim]
    return list(dict.fromkeys(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))) or [dim]


_OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def size_of(dim: int | str, sizes: Mapping[str, int]) -> int:
    """Return a dimension's size; exporters write expressions such as `2*s0 + 1` into the name."""
    if isinstance(dim, int):
        return dim
    if dim in sizes:
        return sizes[dim]

    def value(node: ast.expr) -> int:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.Name):
            return sizes[node.id]
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](value(node.left), value(node.right))
        raise OnnxNormError(f"the dimension {dim!r} is beyond what can be resolved; give shapes or inputs")

    return max(value(ast.parse(dim, mode="eval").body), 0)

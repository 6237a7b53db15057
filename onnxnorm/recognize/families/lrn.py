"""Local response normalization: y = x / (bias + alpha / n * sum of x**2 over a window) ** beta.

Over channels it becomes `LRN` (rank 4, odd size: what runtimes take) or `onnxnorm.InterChannelLRN`; over all positions
around each within its channel `onnxnorm.IntraChannelLRN`, which ONNX has not. An even window that reaches further back,
as PyTorch has it, is ONNX's mirror image: it stands between two flips of the channels.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import onnx_ir as ir

from onnxnorm.recognize.coefficients import Array
from onnxnorm.recognize.families.answers import Answer, Found, Named, Near, Proposal
from onnxnorm.recognize.monomials import SQUARE, Base, Window
from onnxnorm.recognize.polynomial import Poly

__all__ = ["lrn"]

_INTER, _INTRA = "LRN (inter-channel)", "LRN (intra-channel)"
_OPSET_OF_BODIES = 15


def lrn(found: Found) -> Answer:
    """Recognize a local response normalization."""
    quotient = found.quotient
    if quotient is None:
        return None
    atom, exponent = quotient.root
    poly = atom.poly if isinstance(atom, Base) else None
    if isinstance(atom, Window):
        poly = Poly({frozenset({(atom, 1.0)}): np.ones((1,) * found.rank)}, found.rank)
    if poly is None or not any(isinstance(a, Window) for monomial in poly.terms for a, _ in monomial):
        return None
    kind = _INTRA if any(axis > 1 for axis in _axes(poly)) else _INTER
    if quotient.others or quotient.mean_axes is not None or np.any(quotient.shift):
        return Near(kind, "something is added to the quotient") if quotient.others else None
    if quotient.scale.size != 1 or quotient.scale.item() <= 0:
        return None
    window = _window(poly)
    if isinstance(window, str):
        return Near(kind, window)
    reach, bias = window
    factor = float(quotient.scale.reshape(())) ** (1 / exponent)
    return _proposal(found, kind, reach, alpha=factor, beta=-exponent, bias=bias * factor)


def _axes(poly: Poly) -> set[int]:
    windows = [a for monomial in poly.terms for a, _ in monomial if isinstance(a, Window)]
    return {axis for window in windows for axis, _, _ in window.reach}


def _window(poly: Poly) -> tuple[tuple[tuple[int, int, int], ...], float] | str:
    """Return the reach of the window and what is added to the sum, or the reason why it is no window of this kind."""
    terms = dict(poly.terms)
    constant = terms.pop(frozenset(), np.zeros((1,) * poly.rank))
    if constant.size != 1:
        return "what is added to the sum of squares varies"
    parts: list[tuple[tuple[int, int, int], ...]] = []
    ends: dict[int, list[int]] = {1: [], -1: []}
    for monomial, coefficient in terms.items():
        if monomial == SQUARE and _is_number(coefficient, 1):
            parts.append(())
            continue
        ((atom, power),) = monomial if len(monomial) == 1 else ((None, 0.0),)
        if monomial != SQUARE and (not isinstance(atom, Window) or power != 1 or atom.of != SQUARE):
            return "its window sums up something else than squares of the input"
        cumulated = isinstance(atom, Window) and atom.is_cumulated
        sign = next((each for each in ends if _is_number(coefficient, each)), 0)
        if sign == 0 or (sign < 0 and not cumulated):
            return "the squares in its window are weighted"
        assert isinstance(atom, Window)
        if cumulated:
            ends[sign].append(atom.reach[0][2])
            axis = atom.reach[0][0]
        else:
            parts.append(atom.reach)
    if any(ends.values()):
        # Sums from the beginning up to here, less those up to there.
        if len(ends[1]) != len(ends[-1]):
            return "its window has no beginning"
        parts += [((axis, low + 1, high),) for low, high in zip(sorted(ends[-1]), sorted(ends[1]), strict=True)]
        if any(part[0][1] > part[0][2] for part in parts if part):
            return "its window is empty"
    if len(parts) == 1:
        return parts[0], float(constant.reshape(()))
    axes = {axis for part in parts for axis, _, _ in part}
    if len(axes) != 1:
        return "its sum is no window"
    (axis,) = axes
    spans = sorted((part[0][1], part[0][2]) if part else (0, 0) for part in parts)
    if any(later[0] != earlier[1] + 1 for earlier, later in itertools.pairwise(spans)):
        return "its window has gaps or counts a position twice"
    return ((axis, spans[0][0], spans[-1][1]),), float(constant.reshape(()))


def _is_number(coefficient: Array, number: float) -> bool:
    return coefficient.size == 1 and math.isclose(coefficient.item(), number, rel_tol=1e-6)


def _proposal(
    found: Found, kind: str, reach: tuple[tuple[int, int, int], ...], *, alpha: float, beta: float, bias: float
) -> Answer:
    if found.casts:
        # The operator has no type of its own for the squares: the value between the casts is found by itself.
        return None
    sizes = {axis: last - first + 1 for axis, first, last in reach}
    if set(sizes) != {1} and (1 in sizes or 0 in sizes):
        return Near(kind, f"its window runs over axes {sorted(sizes)}")
    lopsided = [(axis, first, last) for axis, first, last in reach if -first != (sizes[axis] - 1) // 2]
    if kind == _INTRA:
        if not 3 <= found.rank <= 5:
            return Named(kind, f"the tensor has rank {found.rank}")
        if lopsided:
            axis, first, last = lopsided[0]
            return Near(kind, f"its window reaches {-first} back and {last} ahead along axis {axis}")
        kernel = tuple(sizes.get(axis, 1) for axis in range(2, found.rank))
        attributes = {"kernel_shape": kernel, **_constants(alpha * math.prod(kernel), beta, bias)}
        return Proposal(kind, "IntraChannelLRN", _OPSET_OF_BODIES, {}, attributes, "onnxnorm")
    size = sizes[1]
    attributes = {"size": size, **_constants(alpha * size, beta, bias)}
    mirrored = bool(lopsided) and -lopsided[0][1] == size // 2
    if lopsided and not mirrored:
        return Near(kind, f"its window reaches {-lopsided[0][1]} channels back and {lopsided[0][2]} ahead")
    if found.rank == 4 and size % 2 and found.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return Proposal(kind, "LRN", 1, {}, attributes)
    return Proposal(kind, "InterChannelLRN", _OPSET_OF_BODIES, {}, attributes, "onnxnorm", flipped=mirrored)


def _constants(alpha: float, beta: float, bias: float) -> dict[str, int | float | tuple[int, ...]]:
    return {"alpha": _clean(alpha), "beta": _clean(beta), "bias": _clean(bias)}


def _clean(number: float) -> float:
    """Return the shortest decimal that is the same float32."""
    return float(str(np.float32(number)))

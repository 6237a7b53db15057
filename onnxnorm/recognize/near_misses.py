"""Names chains of nodes that look like a normalization and are none."""

from __future__ import annotations

from onnxnorm.recognize.monomials import SQUARE, Base, Mean, Stack, Window
from onnxnorm.recognize.polynomial import Poly
from onnxnorm.recognize.reading import Reading, Stop, statistics_in

__all__ = ["looks_like"]


def looks_like(reading: Reading) -> tuple[str, Stop] | None:
    """Return the normalization that a region may have been meant for, and the node at which it became something else.

    A variance, a window of squares or the root of a mean of squares with an epsilon is computed for little else.
    """
    for stop in reading.stops:
        for value in stop.node.inputs:
            form = None if value is None else reading.forms.get(value)
            kind = None if form is None else _meant(form.poly)
            if form is not None and stop.node.op_type == "AveragePool" and set(form.poly.terms) == {SQUARE}:
                kind = "LRN"
            if kind is not None:
                return kind, stop
    return None


def _meant(poly: Poly) -> str | None:
    for monomial, _ in poly.terms.items():
        for atom, power in monomial:
            if isinstance(atom, Window):
                return "LRN"
            if isinstance(atom, Stack) and _meant(atom.poly) is not None:
                return _meant(atom.poly)
            if isinstance(atom, Base):
                inner = _meant(atom.poly)
                if inner is not None:
                    return inner
                if power in (0.5, -0.5) and statistics_in(atom.poly):
                    return "RMSNormalization"
    atoms = [(atom, power) for monomial in poly.terms for atom, power in monomial]
    means = [(atom, power) for atom, power in atoms if isinstance(atom, Mean)]
    if any(power == 2 for _, power in means) and any(power == 1 and atom.of == SQUARE for atom, power in means):
        return "LayerNormalization"
    return None

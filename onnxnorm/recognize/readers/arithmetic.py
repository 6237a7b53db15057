"""Reads arithmetic, powers and reductions: what each operator makes of the formulas of its operands.

A reader raises `Unreadable` for what no normalization does. The arithmetic is that of real numbers; in which type it is
done, and whether a rewriting may change that, is asked of the whole region (`onnxnorm.recognize.acceptance`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from onnxnorm.graph.nodes import producer_of
from onnxnorm.model.dtypes import FLOATS
from onnxnorm.recognize.form import Form, combine
from onnxnorm.recognize.monomials import Stack, Unreadable
from onnxnorm.recognize.polynomial import Poly
from onnxnorm.recognize.readers import layout, windows
from onnxnorm.recognize.readers.operands import ReadSite

__all__ = ["READERS", "REDUCTIONS", "Reader"]

Reader: TypeAlias = "Callable[[ReadSite], Form]"


def _same(site: ReadSite) -> Form:
    return site.form()


def _dropout(site: ReadSite) -> Form:
    if site.value(2) is not None and np.any(site.constant(2)):
        raise Unreadable("a Dropout in training mode")
    return site.form()


def _cast(site: ReadSite) -> Form:
    if site.node.outputs[0].dtype not in FLOATS:
        raise Unreadable("a cast to another kind of number")
    return site.form()


def _folded(operation: Callable[[Poly, Poly], Poly]) -> Reader:
    def read(site: ReadSite) -> Form:
        if site.opset < 7 and site.whole("broadcast", 0):
            raise Unreadable("a broadcast by attributes, as it was before opset 7")
        return reduce(lambda one, other: combine(one, other, operation), site.forms_of_all())

    return read


def _mean_of_operands(site: ReadSite) -> Form:
    return _folded(Poly.__add__)(site).map(lambda poly: poly.scaled(1 / len(site.node.inputs)))


def _quotient(one: Poly, other: Poly) -> Poly:
    return one * other.power(-1)


def _powered(exponent: float) -> Reader:
    return lambda site: site.form().map(lambda poly: poly.power(exponent))


def _pow(site: ReadSite) -> Form:
    return site.form().map(lambda poly: poly.power(_decimal(site.number(1))))


def _decimal(number: float) -> float:
    """Return the shortest decimal, such as 0.75, where a half type or float32 could hold no more of the number."""
    for places in range(1, 7):
        rounded = round(number, places)
        if np.float32(rounded) == np.float32(number):
            return rounded
    return number


def _negated(site: ReadSite) -> Form:
    return site.form().map(Poly.__neg__)


def _absolute(site: ReadSite) -> Form:
    return site.form().map(Poly.magnitude)


def _maximum(site: ReadSite) -> Form:
    if len(site.node.inputs) != 2:
        raise Unreadable("a maximum of several values")
    own = 0 if site.value(0) in site.forms else 1
    return site.form(own).map(lambda poly: poly.floor(site.number(1 - own)))


def _minimum(site: ReadSite) -> Form:
    if len(site.node.inputs) != 2:
        raise Unreadable("a minimum of several values")
    own = 0 if site.value(0) in site.forms else 1
    return site.form(own).map(lambda poly: poly.ceiling(site.number(1 - own)))


def _clip(site: ReadSite) -> Form:
    if site.opset < 11:
        least, most = site.real("min", -np.inf), site.real("max", np.inf)
    else:
        least = -np.inf if site.value(1) is None else site.number(1)
        most = np.inf if site.value(2) is None else site.number(2)
    return site.form().map(lambda poly: poly.floor(least).ceiling(most))


def _relu(site: ReadSite) -> Form:
    """Read a Relu, which changes nothing where a value is never negative; elsewhere it belongs to no normalization."""
    form = site.form()
    if form.poly.least < 0:
        raise Unreadable("an operand that may be negative")
    return form


def _reduction(*, mean: bool = False, before: float = 1, after: float = 1, absolute: bool = False) -> Reader:
    def read(site: ReadSite) -> Form:
        form = site.form(stacked=True)
        rank = len(form.layout)
        axes = site.integers(1, "axes")
        if not axes:
            if site.whole("noop_with_empty_axes", 0):
                raise Unreadable("a reduction over no axis")
            axes = tuple(range(rank))
        if any(not -rank <= axis < rank for axis in axes):
            raise Unreadable("a reduction over an axis that is not there")
        reduced = {axis % rank for axis in axes}
        if form.is_stacked:
            stacked = _stacked(site, form, reduced)
            if stacked is None or absolute or not before == after == 1:
                raise Unreadable("parts that were put side by side")
            total = reduce(Poly.__add__, stacked)
            form = Form.of(total.scaled(1 / len(stacked)) if mean else total, form.layout)
            return _without(form, reduced, site)

        def inside(poly: Poly) -> Poly:
            poly = poly.magnitude() if absolute else poly.power(before)
            over = frozenset(axis for dimension in reduced for axis in form.layout[dimension])
            return poly.reduced(over, None if mean else site.extents).power(after) if over else poly.power(after)

        return _without(form.map(inside), reduced, site)

    return read


def _without(form: Form, reduced: set[int], site: ReadSite) -> Form:
    """Return the form whose reduced dimensions have extent 1, or are gone."""
    keep = site.whole("keepdims", 1)
    layout = tuple(
        () if dimension in reduced else entry
        for dimension, entry in enumerate(form.layout)
        if keep or dimension not in reduced
    )
    return Form.of(form.poly, layout)


def _stacked(site: ReadSite, form: Form, reduced: set[int]) -> tuple[Poly, ...] | None:
    """Return the parts that a Concat has put side by side, where it is just that dimension which is reduced."""
    operand = site.value(0)
    node = producer_of(operand)
    if node is None or node.op_type != "Concat" or len(form.poly.terms) != 1:
        return None
    ((monomial, coefficient),) = form.poly.terms.items()
    ((atom, power),) = monomial if len(monomial) == 1 else ((None, 0.0),)
    if not isinstance(atom, Stack) or power != 1 or np.any(coefficient != 1):
        return None
    axis = node.attributes.get("axis")
    return atom.polys if axis is not None and reduced == {axis.as_int() % len(form.layout)} else None


def _global_average(site: ReadSite) -> Form:
    form = site.form()
    over = frozenset(axis for entry in form.layout[2:] for axis in entry)
    result = form.map(lambda poly: poly.reduced(over, None))
    return Form.of(result.poly, form.layout[:2] + ((),) * (len(form.layout) - 2))


REDUCTIONS: frozenset[str] = frozenset(
    {"GlobalAveragePool", "ReduceL1", "ReduceL2", "ReduceMean", "ReduceSum", "ReduceSumSquare"}
)

READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "Abs": _absolute,
        "Add": _folded(Poly.__add__),
        "Cast": _cast,
        "CastLike": _cast,
        "Clip": _clip,
        "Div": _folded(_quotient),
        "Dropout": _dropout,
        "GlobalAveragePool": _global_average,
        "Identity": _same,
        "Max": _maximum,
        "Mean": _mean_of_operands,
        "Min": _minimum,
        "Mul": _folded(Poly.__mul__),
        "Neg": _negated,
        "Pow": _pow,
        "Reciprocal": _powered(-1),
        "Relu": _relu,
        "ReduceL1": _reduction(absolute=True),
        "ReduceL2": _reduction(before=2, after=0.5),
        "ReduceMean": _reduction(mean=True),
        "ReduceSum": _reduction(),
        "ReduceSumSquare": _reduction(before=2),
        "Sqrt": _powered(0.5),
        "Sub": _folded(Poly.__sub__),
        "Sum": _folded(Poly.__add__),
        **layout.READERS,
        **windows.READERS,
    }
)
"""The reader of each operator of ONNX's own domain that a normalization may be made of."""

"""Chooses which values of one reading become nodes: normalizations of one tensor may share what they compute first."""

from __future__ import annotations

import onnx_ir as ir

from onnxnorm.journal.words import naming_value, say
from onnxnorm.recognize.acceptance import Refusal, answer_to
from onnxnorm.recognize.families import Answer, Found, Named, Proposal
from onnxnorm.recognize.polynomial import Poly
from onnxnorm.recognize.reading import Reading

__all__ = ["choose", "roots_of"]

# The formulas of normalizations have no more: X and its mean over the deviation, a shift, and X itself.
_MOST_TERMS = 4


def roots_of(reading: Reading) -> list[Found]:
    """Return the values that may be the result of a normalization, the one with the most nodes first."""
    found = [
        Found(reading, value, form.poly)
        for value, form in reading.forms.items()
        if value is not reading.x and form.is_plain and len(form.poly.terms) <= _MOST_TERMS
    ]
    found = [each for each in found if each.quotient is not None or len(each.poly.terms) > 1 or _has_shares(each.poly)]
    return sorted(found, key=lambda each: -len(each.cone))


def _has_shares(poly: Poly) -> bool:
    """Whether a statistic over another one is a factor, as in a global response normalization without weights."""
    return any(len(monomial) > 2 for monomial in poly.terms)


def choose(reading: Reading) -> tuple[list[tuple[Found, Proposal]], list[tuple[Found, Answer]]]:
    """Return the normalizations of one tensor that become nodes, and the answers to the rest.

    They may share what they compute first (a mean, the centred tensor): it goes when all its readers go. A value that
    is a normalization itself is raised for itself instead, and computed once.
    """
    roots = [(found, *answer_to(found)) for found in roots_of(reading)]
    raisable = {found.root for found, refused, answer in roots if isinstance(answer, Proposal) and refused is None}
    escapes: dict[ir.Value, Refusal] = {}
    while True:
        taken: list[tuple[Found, Proposal]] = []
        left: list[tuple[Found, Answer]] = []
        gone: set[ir.Node] = set()
        wholes: list[tuple[set[ir.Node], str]] = []
        for found, refused, answer in roots:
            node = found.root.producer()
            if node in gone:
                continue
            if isinstance(answer, Proposal):
                if any(node in cone and kind != answer.kind for cone, kind in wholes):
                    # Part of what has another name as a whole.
                    continue
                refused = refused or escapes.get(found.root)
                if refused is None:
                    taken.append((found, answer))
                    gone.update(found.cone)
                    continue
                wholes.append((set(found.cone), answer.kind))
                answer = Named(answer.kind, refused.reason, refused.of_part, refused.needs_opset)
            left.append((found, answer))
        before = len(escapes)
        for found, _ in taken:
            escape = found.reading.escape(found.root, found.cone, gone, raisable)
            if escape is not None:
                escapes[found.root] = Refusal(say("{} inside it is read elsewhere too", naming_value(escape)))
        if len(escapes) == before:
            nodes = {found.root.producer() for found, _ in taken}
            # Of what is raised but for its weights nothing is left to say.
            return taken, [(found, answer) for found, answer in left if nodes.isdisjoint(found.cone)]

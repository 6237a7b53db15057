"""Global response normalization: y = scale * x * g / (mean of g over channels + epsilon) + bias + x.

g is the length of each channel over its positions (ConvNeXt V2). ONNX has no operator for it; it is named, and left.
Source: Woo et al., "ConvNeXt V2" (2023), arXiv 2301.00808, section 3.
"""

from __future__ import annotations

from onnxnorm.recognize.families.answers import Answer, Found, Named
from onnxnorm.recognize.monomials import SQUARE, Atom, Base, Input, Mean, Total, X

__all__ = ["global_response_norm"]

_KIND = "GlobalResponseNorm"


def global_response_norm(found: Found) -> Answer:
    """Recognize a global response normalization, which no one node computes."""
    for monomial in found.poly.terms:
        if len(monomial) == 3 and (Input(), 1.0) in monomial:
            rest = dict(monomial - X)
            lengths = [atom for atom, power in rest.items() if power == 0.5 and _is_length(atom)]
            divisors = [atom for atom, power in rest.items() if power == -1 and isinstance(atom, Base)]
            if len(lengths) == len(divisors) == 1 and _averages(divisors[0], lengths[0]):
                return Named(_KIND, "ONNX has no operator for it; it stays written out")
    return None


def _is_length(atom: Atom) -> bool:
    return isinstance(atom, (Mean, Total)) and atom.of == SQUARE


def _averages(divisor: Atom, length: Atom) -> bool:
    assert isinstance(divisor, Base)
    inner = frozenset({(length, 0.5)})
    return any(
        isinstance(atom, Mean) and power == 1 and atom.of == inner
        for monomial in divisor.poly.terms
        for atom, power in monomial
    )

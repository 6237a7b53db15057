"""Recognizes normalizations that a model spells out in other operators.

A normalization has many spellings: the root as Sqrt, Pow or Reciprocal, the square as Mul or Pow, a mean as a sum over
a count, constants on either side, factors in any order, dimensions kept or dropped. As patterns, which is how the
rewriter of onnxscript (and the fusions of other tools) go about it, each combination is a pattern of its own: its
alternatives multiply, operands of commutative operators double them once more, it sees a constant only where a
constant tensor stands, and where a pattern does not match it cannot say what kept it from matching.

So a region is not matched but read. From a tensor X on, every node that computes something from X and constants alone
is evaluated over polynomials in X and statistics of X (`polynomial`), in the layout that it has (`form`,
`readers`); constants in disguise are asked of `Facts`. Two spellings of a formula are one
polynomial, so that each family (`families`) tests one formula, and where it differs it says in which part. The reading
of one X stops after a fixed number of nodes, so the whole takes time linear in the size of the model.
"""

from __future__ import annotations

from onnxnorm.recognize.candidates import candidates
from onnxnorm.recognize.families import FAMILIES, Near, Proposal
from onnxnorm.recognize.reading import Reading

__all__ = ["FAMILIES", "Near", "Proposal", "Reading", "candidates"]

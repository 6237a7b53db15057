"""Counts what a normalization costs in onnxruntime and in the kernels of this project: it moves only where it wins.

A time is that of a call, of each vector that has a statistic of its own, and of each element. The figures are those of
`python -m bench norm_costs` (onnxruntime 1.32, one thread of processor time, AVX2): ratios of them hold elsewhere.

Where tensors are held in blocks of channels (`graph/blocked_layout.py`), a BatchNormalization is a convolution itself,
and stays. All other normalizations have no blocked form: the two reorders stand around them as around a kernel, and do
not count. But the reorders put channels last as fast as second, so that a LayerNormalization between two Transposes has
these for nothing there: the rows "in blocks" are without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from onnxnorm.graph.blocked_layout import is_blocked
from onnxnorm.graph.facts import Facts

__all__ = ["COSTS", "Cost", "is_faster", "kind_there"]


@dataclass(frozen=True)
class Cost:
    """The nanoseconds of a call, of each vector and of each element."""

    call: float
    vector: float
    element: float

    def of(self, vectors: int, elements: int) -> float:
        return self.call + self.vector * vectors + self.element * elements


COSTS: Mapping[str, tuple[Cost, Cost]] = {
    "GroupNormalization": (Cost(28400, 0.0, 1.807), Cost(7300, 24.7, 0.175)),
    "GroupNormalization (written out)": (Cost(0, 227.1, 1.161), Cost(0, 179.6, 0.213)),
    "InstanceNormalization": (Cost(0, 39.4, 0.280), Cost(1700, 74.2, 0.149)),
    "LayerNormalization": (Cost(6700, 45.9, 1.345), Cost(5300, 0.0, 0.746)),
    "LayerNormalization (in blocks)": (Cost(882, 46.1, 0.429), Cost(2290, 10.4, 0.524)),
    "RMSNormalization": (Cost(3000, 30.5, 1.538), Cost(2400, 0.0, 0.484)),
    "RMSNormalization (in blocks)": (Cost(3204, 22.1, 0.119), Cost(6503, 0.0, 0.318)),
    "LpNormalization": (Cost(0, 0.0, 1.691), Cost(3200, 0.0, 0.323)),
    "MeanVarianceNormalization": (Cost(1900, 12.7, 0.882), Cost(3100, 90.8, 0.271)),
    "GlobalResponseNorm (written out)": (Cost(12400, 73.7, 2.183), Cost(3100, 69.3, 0.356)),
    "BatchNormalization": (Cost(1900, 15.8, 0.059), Cost(3000, 24.2, 0.049)),
    "Relu": (Cost(2100, 1.7, 0.047), Cost(700, 0.0, 0.013)),
}
"""The cost of the nodes in onnxruntime and of the kernel, by what is replaced.

Relu stands for any one more node behind it, which the kernel computes while it has the result in registers.
"""

# Differences below a tenth are within what the figures of two machines differ by.
_CLEARLY = 0.9
_MANY, _LARGE = 64, 1024


def kind_there(kind: str, x: ir.Value, facts: Facts) -> str:
    """Return the name in `COSTS` of a normalization of `x`, which tells where it stands if that makes a difference."""
    there = f"{kind} (in blocks)"
    return there if there in COSTS and is_blocked(x, facts) else kind


def is_faster(kind: str, shape: Sequence[object], vectors: Callable[[Sequence[int]], int], parts: int) -> bool:
    """Tell whether the kernel takes clearly less time than the nodes that it replaces.

    An open batch may be of one item or of many, and both have to be faster. Any other open extent is taken for a large
    one: that is where time is spent.

    Args:
        kind: what is replaced, by its name in `COSTS`.
        shape: that of the tensor.
        vectors: tells of extents how many of the elements' vectors have a statistic of their own.
        parts: how many further nodes the kernel takes in, such as an activation.
    """
    standard, kernel = COSTS[kind]
    more = COSTS["Relu"][0]
    for batch in (1, _MANY):
        extents = [extent if isinstance(extent, int) else _LARGE if at else batch for at, extent in enumerate(shape)]
        count, elements = vectors(extents), math.prod(extents)
        if kernel.of(count, elements) >= _CLEARLY * (standard.of(count, elements) + parts * more.of(count, elements)):
            return False
    return True

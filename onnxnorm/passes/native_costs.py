"""Counts what a normalization costs in onnxruntime and in the kernels of this project: it moves only where it wins.

A time is that of a call, of each vector that has a statistic of its own, and of each element. The figures are those of
`python -m bench norm_costs` (onnxruntime 1.32, one thread of processor time, AVX2): ratios of them hold elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["COSTS", "Cost", "is_faster"]


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
    "RMSNormalization": (Cost(3000, 30.5, 1.538), Cost(2400, 0.0, 0.484)),
    "LpNormalization": (Cost(0, 0.0, 1.691), Cost(3200, 0.0, 0.323)),
    "MeanVarianceNormalization": (Cost(1900, 12.7, 0.882), Cost(3100, 90.8, 0.271)),
    "GlobalResponseNorm (written out)": (Cost(12400, 73.7, 2.183), Cost(3100, 69.3, 0.356)),
    "BatchNormalization": (Cost(1900, 15.8, 0.059), Cost(3000, 24.2, 0.049)),
    "Relu": (Cost(2100, 1.7, 0.047), Cost(700, 0.0, 0.013)),
}
"""The cost of the nodes in onnxruntime and of the kernel, by what is replaced.

Relu stands for any one more node behind it, which the kernel computes while it has the result in registers.
"""


def is_faster(kind: str, shape: tuple[object, ...] | None, vectors: int | None, parts: int) -> bool:
    """Whether the kernel takes less time than the nodes that it replaces; an open extent is taken for a large one.

    Args:
        kind: what is replaced, by its name in `COSTS`.
        shape: that of the tensor.
        vectors: how many of the elements' vectors have a statistic of their own; None where that is not known.
        parts: how many further nodes the kernel takes in, such as an activation.
    """
    if shape is None or vectors is None or not all(isinstance(extent, int) for extent in shape):
        return True
    elements = math.prod(extent for extent in shape if isinstance(extent, int))
    standard, kernel = (cost.of(vectors, elements) for cost in COSTS[kind])
    return kernel < standard + parts * COSTS["Relu"][0].of(vectors, elements)

"""Moving channel affines: the algebra, the table of rules, the solver."""

from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.exactness import remember_sizes
from onnxnorm.affine.memory import Memory
from onnxnorm.affine.region import Region
from onnxnorm.affine.rewrite import apply
from onnxnorm.affine.rules.sources import AffineNode, affine_of, is_affine
from onnxnorm.affine.site import Declined
from onnxnorm.affine.solve import Stuck, next_door, solve
from onnxnorm.affine.twins import Twins

__all__ = [
    "AffineNode",
    "ChannelAffine",
    "Declined",
    "Gauge",
    "Memory",
    "Region",
    "Stuck",
    "Twins",
    "affine_of",
    "apply",
    "is_affine",
    "next_door",
    "remember_sizes",
    "solve",
]

"""Moving channel affines: the algebra, the table of rules, the solver."""

from onnxnorm.affine.apply import apply
from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.exactness import remember_sizes
from onnxnorm.affine.interface import Declined
from onnxnorm.affine.obstacles import Memory
from onnxnorm.affine.region import Region
from onnxnorm.affine.repeated_failures import Twins
from onnxnorm.affine.rules.affine_nodes import AffineNode, affine_of, is_affine
from onnxnorm.affine.solve import Stuck, next_door, solve
from onnxnorm.affine.units import Units

__all__ = [
    "AffineNode",
    "ChannelAffine",
    "Declined",
    "Gauge",
    "Memory",
    "Region",
    "Stuck",
    "Twins",
    "Units",
    "affine_of",
    "apply",
    "is_affine",
    "next_door",
    "remember_sizes",
    "solve",
]

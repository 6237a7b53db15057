"""Moves channel affines through a graph: the algebra, the table of rules, the solver.

The picture shows a BatchNormalization that only scales, by s, and how it goes. Every term below is used in this sense
alone.

    x                            x
    |                            |
    Conv (W, b)    absorbs       Conv (s W, s b)
    |                            |
    v              gauge         v' = s v
    |-------.                    |-------.
    |       |                    |       Mul (1 / s)    v again: inserted for the party that is set aside
    |       |                    |       |
    |       Sigmoid  aside       |       Sigmoid
    |                            |
    Resize         passes it     Resize
    |                            |
    w              gauge         w' = s w
    |                            |
    BatchNorm      goes          |
    |                            |
    y = s w                      y = w'

affine: y = scale * x + shift, with constants that vary along some axes of x, mostly along the channels (channel.py).
gauge: the affine that ties a value of the original graph to the value that takes its place: v' = s v, or v = v' / s
    (`Gauge` in channel.py). A gauged value is one that is to be replaced so.
party: whoever deals with a gauged value. The node that makes it and the nodes that read it are parties; so is, at the
    border of a graph, the caller, or the node that owns the subgraph. The parties of v are Conv, Sigmoid and Resize.
edit: what becomes of a party that goes along, as the rule of its operator says: other constants, or its removal. An
    operator that takes the affine into its constants absorbs it; one that stays as it is passes it.
aside: a party that cannot go along is set aside: it keeps the old value, and a new node between it and the others
    computes the one value from the other. Here that is Sigmoid, with the Mul.
region: what has to change together: the gauged values, the edits of their parties, and the new nodes for those that are
    set aside. It is complete when every party of every gauged value goes along or is set aside; then all of it is
    applied, or nothing. It is applied where it lowers the cost: here the Mul costs less than the BatchNormalization,
    since v is smaller than w.
toll: what it costs at the least to set a party aside at a place where gauges of a kind are known not to pass. A later
    search that would be led there first asks whether it saves more than that (obstacles.py).
stuck: the answer of a search that completed no region: the reason, which a person reads, and the nodes that were asked.
    While these stay as they are, the answer stays the same, and the search is not made again.
"""

from onnxnorm.affine.apply import apply
from onnxnorm.affine.bounds import bound_of
from onnxnorm.affine.channel import ChannelAffine, Gauge
from onnxnorm.affine.diagnose import Diagnosis, diagnose
from onnxnorm.affine.evidence import evidence_of
from onnxnorm.affine.exactness import remember_sizes
from onnxnorm.affine.interface import Declined
from onnxnorm.affine.obstacles import Obstacles
from onnxnorm.affine.region import Refusal, Region
from onnxnorm.affine.repeated_failures import RepeatedFailures
from onnxnorm.affine.rules.affine_nodes import AffineNode, affine_of, is_affine
from onnxnorm.affine.solve import Stuck, next_door, solve
from onnxnorm.affine.units import Units

__all__ = [
    "AffineNode",
    "ChannelAffine",
    "Declined",
    "Diagnosis",
    "Gauge",
    "Obstacles",
    "Refusal",
    "Region",
    "RepeatedFailures",
    "Stuck",
    "Units",
    "affine_of",
    "apply",
    "bound_of",
    "diagnose",
    "evidence_of",
    "is_affine",
    "next_door",
    "remember_sizes",
    "solve",
]

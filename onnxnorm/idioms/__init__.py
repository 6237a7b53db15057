"""Finds idioms: what runtimes run as one node, however it is written.

A model says gelu, attention or a layer norm in many nodes. A runtime that knows the idiom makes one node of them, so
that what is saved inside costs the whole node. The finders say where idioms stand and under which name; `fusions` says
which of them each runtime fuses.
"""

from __future__ import annotations

from onnxnorm.idioms.find import idioms_in, units_in
from onnxnorm.idioms.fusions import FUSIONS, Fusion, fused_for
from onnxnorm.idioms.idiom import Idiom, Kind

__all__ = ["FUSIONS", "Fusion", "Idiom", "Kind", "fused_for", "idioms_in", "units_in"]

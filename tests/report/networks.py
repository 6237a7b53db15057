"""A model for the tests of the report page whose names try to be code."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from testing.residual_blocks import constant, model_of

__all__ = ["HOSTILE", "hostile"]

HOSTILE = (
    "</script><script>document.title='broken'</script>",
    "<img src=x onerror=\"document.title='broken'\">",
    "\"'`${document.title='broken'}\\",
    "<!--<script>",
    "&lt;b&gt; @data@ @script@",
    "right\u202eto left\u2028next line",
    "null\0character",
    "long" * 2_500_000,
)


def hostile() -> onnx.ModelProto:
    """Build a network whose every name is one of `HOSTILE`, or holds it."""
    names = iter(HOSTILE * 3)
    weights = [constant(name, np.ones(2)) for name in ("g", "b", "m", "v")]
    weights.append(constant("w", np.ones((2, 2, 1, 1))))
    nodes = []
    current = "x"
    for place in range(len(HOSTILE)):
        for op, inputs in (("Conv", ["w"]), ("BatchNormalization", ["g", "b", "m", "v"]), ("LRN", [])):
            out = f"{op}{place}{HOSTILE[place][:60]}"
            attributes = {"size": 3} if op == "LRN" else {}
            nodes.append(helper.make_node(op, [current, *inputs], [out], name=next(names), **attributes))
            current = out
    nodes.append(helper.make_node("Identity", [current], ["y"], name="end"))
    model = model_of(nodes, weights, [1, 2, 3, HOSTILE[0]])
    model.graph.name = HOSTILE[0]
    return model

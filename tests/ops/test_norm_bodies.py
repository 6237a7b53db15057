"""What onnxruntime makes of the portable bodies of normalizations: the nodes that each stands for, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxnorm.ops.attach import attach_bodies
from onnxnorm.ops.operators import DOMAIN
from testing.optimized import operators_in_onnxruntime

# What computes shapes where the batch is open, and casts the result of the body to the type of X.
_OF_SHAPES = ("Cast", "Concat", "Div", "Expand", "ReduceProd", "Shape", "Slice")


def optimized(folder: Path, op_type: str, weights: int, opset: int, batch: int | str, **attributes: Any) -> list[str]:
    """The operators of the graph that onnxruntime runs, without the library, with weights that are constant."""
    shape = [batch, 8, 5, 6]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "XY"]
    numbers = {"scale": np.linspace(0.5, 1.5, weights), "bias": np.linspace(1, 2, weights), "none": np.zeros(1)}
    node = helper.make_node(op_type, ["X", "scale", "bias", "none"], ["Y"], domain=DOMAIN, **attributes)
    tensors = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in numbers.items()]
    graph = helper.make_graph([node], "norm", values[:1], values[1:], tensors)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    attach_bodies(model)
    return operators_in_onnxruntime(model, folder)


@pytest.mark.parametrize("batch", [2, "batch"])
@pytest.mark.parametrize(
    ("op_type", "weights", "opset", "attributes", "wanted"),
    [
        ("GroupNorm", 8, 18, {"num_groups": 8}, ["Reshape", "InstanceNormalization", "Reshape"]),
        ("GroupNorm", 4, 18, {"num_groups": 4}, ["Reshape", "InstanceNormalization", "Reshape"]),
        (
            "GroupNorm", 8, 21, {"num_groups": 4, "activation": 1},
            ["Reshape", "InstanceNormalization", "Reshape", "BatchNormalization", "Relu"],
        ),
        ("ChannelLayerNorm", 8, 17, {}, ["Transpose", "LayerNormalization", "Transpose"]),
        ("ChannelRMSNorm", 8, 23, {}, ["Transpose", "RMSNormalization", "Add", "Transpose"]),
        ("ChannelAffine", 8, 18, {"activation": 1}, ["BatchNormalization", "Relu"]),
    ],
)  # fmt: skip
def test_bodies_become_the_nodes_that_they_stand_for(
    tmp_path: Path,
    op_type: str,
    weights: int,
    opset: int,
    attributes: dict[str, Any],
    wanted: list[str],
    batch: int | str,
) -> None:
    found = optimized(tmp_path, op_type, weights, opset, batch, **attributes)
    assert [op for op in found if op not in _OF_SHAPES] == wanted


def test_mean_and_variance_are_one_node_where_epsilon_is_that_of_the_standard(tmp_path: Path) -> None:
    own = optimized(tmp_path, "MeanVarianceNorm", 1, 18, 2, axes=[2, 3])
    assert "MeanVarianceNormalization" in own and "ReduceSum" not in own
    other = optimized(tmp_path, "MeanVarianceNorm", 1, 18, 2, axes=[2, 3], epsilon=1e-5)
    assert "MeanVarianceNormalization" not in other and "ReduceSum" in other

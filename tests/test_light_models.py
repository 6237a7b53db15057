"""Real architectures that are not of our making: the models that ship inside the package onnx as test data.

Their weights are constant fills written as ConstantOfShape, their initializers are inputs (IR version 3), their opset
is 9: old files as they lie around.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest

import onnxnorm

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
MODELS = sorted(LIGHT.glob("light_*.onnx"))


def test_all_nine_are_there() -> None:
    assert len(MODELS) == 9


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_light_model_is_optimized_and_verified(path: Path) -> None:
    before = path.read_bytes()
    result = onnxnorm.optimize(path, verify=False)
    original = onnx.load_model_from_string(before)

    onnx.checker.check_model(result.model, full_check=True)
    assert path.read_bytes() == before
    assert [value.name for value in result.model.graph.output] == [value.name for value in original.graph.output]
    counts = [Counter(node.op_type for node in model.graph.node) for model in (original, result.model)]
    # Each LRN is written out: one AveragePool along the channels.
    assert counts[1]["LRN"] == 0
    assert counts[1]["AveragePool"] == counts[0]["AveragePool"] + counts[0]["LRN"]
    left = {decline.node for decline in result.declined if decline.op_type == "BatchNormalization"}
    assert len(left) == counts[1]["BatchNormalization"]
    # In these chains every BatchNormalization stands behind a convolution, save for those of DenseNet.
    if "densenet" not in path.name:
        assert not left
    report = onnxnorm.verify(path, result.model)
    assert report.passed, str(report)


# From the architectures: a DenseNet-121 has one normalization at its stem, two in each of 6 + 12 + 24 + 16 layers, one
# in each of three transitions and one at its end; Inception v2 is BN-Inception with 69 convolutions; a ResNet-50 has a
# stem, three in each of 16 blocks, and four shortcuts; ShuffleNet its stem and three in each of 16 units.
EXPECTED = {
    "light_bvlc_alexnet": {"LRN (inter-channel)": 2},
    "light_densenet121": {"BatchNormalization": 1 + 2 * (6 + 12 + 24 + 16) + 3 + 1},
    "light_inception_v1": {"LRN (inter-channel)": 2},
    "light_inception_v2": {"BatchNormalization": 69},
    "light_resnet50": {"BatchNormalization": 1 + 3 * 16 + 4},
    "light_shufflenet": {"BatchNormalization": 1 + 3 * 16},
    "light_squeezenet": {},
    "light_vgg19": {},
    "light_zfnet512": {"LRN (inter-channel)": 2},
}


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_inspect_names_every_normalization_and_nothing_else(path: Path) -> None:
    assert Counter(record.kind for record in onnxnorm.inspect(path)) == EXPECTED[path.stem]

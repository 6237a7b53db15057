"""What was optimized once is left alone by a second run, node for node."""

from __future__ import annotations

import pytest

import onnxnorm
from onnxnorm.passes.targets import TARGETS
from testing.networks import random_network


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", range(8))
def test_a_second_run_changes_nothing(seed: int, target: str) -> None:
    once = onnxnorm.optimize(random_network(seed, 12), target=target, verify=False).model
    again = onnxnorm.optimize(once, target=target, verify=False)
    assert not again.rewrites
    assert list(again.model.graph.node) == list(once.graph.node)

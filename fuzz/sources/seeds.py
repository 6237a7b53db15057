"""The valid models from which both fuzzers start."""

from __future__ import annotations

from pathlib import Path

import onnx

from testing.networks import random_network
from testing.plain_networks import plain_network

__all__ = ["FINDINGS", "seed_model"]

FINDINGS = Path(__file__).parent.parent / "findings"
_LIGHT = ("light_squeezenet", "light_bvlc_alexnet", "light_shufflenet")


def seed_model(number: int) -> onnx.ModelProto:
    """A random network, plain or not, and now and then an architecture of the package onnx."""
    if number % 50 == 49:
        folder = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
        return onnx.load(folder / f"{_LIGHT[number // 50 % len(_LIGHT)]}.onnx")
    if number % 5 == 0:
        return plain_network(number)
    return random_network(number, nodes=4 + number % 13)

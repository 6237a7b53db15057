"""Fixtures of the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests.cli.samples import conv_bn_lrn


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "in.onnx"
    onnx.save(conv_bn_lrn(), path)
    return path

"""Pages that several tests look at, each made once."""

from __future__ import annotations

import pytest

import onnxnorm
from onnxnorm.report import ReportPage, report_page
from onnxnorm.verification.layers import LayerError
from testing.residual_blocks import residual_blocks
from tests.report.networks import hostile


@pytest.fixture(scope="session")
def large() -> ReportPage:
    """Return the page of a network of 2,000 nodes, with an error for each of their values."""
    model = residual_blocks(400)
    layers = [
        LayerError(name, name, node.name, node.op_type, 1.0, 1e-7 * place, 2e-7 * place)
        for place, node in enumerate(model.graph.node)
        for name in node.output
    ]
    return report_page(model, onnxnorm.fold(model, verify=False), layers=layers)


@pytest.fixture(scope="session")
def hostile_page() -> ReportPage:
    """Return the page of a network whose names try to be code."""
    return onnxnorm.fold(hostile(), verify=False).report_page()

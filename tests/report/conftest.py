"""Pages that several tests look at, each made once."""

from __future__ import annotations

import pytest

import onnxnorm
from onnxnorm.report import ReportPage
from testing.residual_blocks import residual_blocks
from tests.report.networks import hostile


@pytest.fixture(scope="session")
def large() -> ReportPage:
    """Return the page of a network of 2,000 nodes."""
    return onnxnorm.fold(residual_blocks(400), verify=False).report_page()


@pytest.fixture(scope="session")
def hostile_page() -> ReportPage:
    """Return the page of a network whose names try to be code."""
    return onnxnorm.fold(hostile(), verify=False).report_page()

"""What all tests share: the checks of developers after every pass, one thread a process, and one browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.browser import Page, started

os.environ["ONNXNORM_DEBUG"] = "1"
# Tests run side by side: threads of torch and NumPy would wait for each other in loops, at four times the cost.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHOTS = Path(__file__).resolve().parents[1] / "out" / "screenshots"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Return a browser, started once for all tests of pages."""
    page = started(tmp_path_factory.mktemp("profile"), SHOTS)
    yield page
    page.driver.quit()

"""What all tests share: the developers' checks, which look through the model after every pass, and one browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.browser import Page, started

os.environ["ONNXNORM_DEBUG"] = "1"

SHOTS = Path(__file__).resolve().parents[1] / "out" / "screenshots"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Return a browser, started once for all tests of pages."""
    page = started(tmp_path_factory.mktemp("profile"), SHOTS)
    yield page
    page.driver.quit()

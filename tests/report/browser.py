"""The browser of the tests, which are left out where it is missing, or fail where it has to be there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from testing.browser import BrowserMissing, Page, start

__all__ = ["REQUIRED", "Page", "started"]

# The test run that has to have a browser says so; elsewhere the tests are left out, with a word.
REQUIRED = os.environ.get("ONNXNORM_BROWSER") == "required"


def started(profile: Path, shots: Path) -> Page:
    """Start the browser, or skip the test with a word; where a browser is required, a missing one is a failure."""
    try:
        return start(profile, shots)
    except BrowserMissing as missing:
        word = f"browser tests need {missing}"
        if REQUIRED:
            pytest.fail(word)
        pytest.skip(word)

"""A headless browser for the tests of pages: Debian's Chromium, driven by selenium."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Page", "started"]

# The test run that has to have a browser says so; elsewhere the tests are left out, with a word.
REQUIRED = os.environ.get("ONNXNORM_BROWSER") == "required"


class Page:
    """An open page, and what is asked of it."""

    def __init__(self, driver: Any, shots: Path) -> None:
        self.driver = driver
        self._shots = shots

    def open(self, path: Path) -> float:
        """Open a file; return the milliseconds until it could be used."""
        self.driver.get(path.resolve().as_uri())
        return float(self.value("document.documentElement.dataset.ready"))

    def value(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        return self.driver.execute_script(f"return {expression}")

    def errors(self) -> list[str]:
        """Return what the console complained of since this was asked last."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]

    def press(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def find(self, css: str) -> Any:
        """Return the first element that fits the selector."""
        return self.driver.find_element("css selector", css)

    def shot(self, name: str) -> Path:
        """Keep a picture of the window."""
        self._shots.mkdir(parents=True, exist_ok=True)
        path = self._shots / f"{name}.png"
        self.driver.save_screenshot(str(path))
        return path


def started(profile: Path, shots: Path) -> Page:
    """Start the browser, or skip the test with a word; where a browser is required, a missing one is a failure."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        missing.append("selenium")
    if missing:
        word = f"browser tests need {', '.join(missing)} (Debian: apt-get install chromium chromium-driver)"
        if REQUIRED:
            pytest.fail(word)
        pytest.skip(word)
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    quiet = ["background-networking", "component-update", "sync", "gpu", "quic", "dev-shm-usage"]
    window = ["headless=new", "no-sandbox", "no-first-run", "window-size=1500,1200"]
    for word in (*window, *(f"disable-{each}" for each in quiet)):
        options.add_argument(f"--{word}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Page(webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver"))), shots)

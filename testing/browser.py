"""Drives a headless browser for tests and benches of pages: Debian's Chromium, by selenium."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

__all__ = ["BrowserMissing", "Page", "start"]


class BrowserMissing(Exception):  # noqa: N818 - it is no error where a browser is not required
    """Says what a browser would need that is not installed."""


class Page:
    """An open page, and what is asked of it."""

    def __init__(self, driver: Any, shots: Path) -> None:
        self.driver = driver
        self._shots = shots

    def open(self, path: Path) -> float:
        """Open a file, and forget what was complained of before; return the milliseconds until it could be used."""
        self.errors()
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


def start(profile: Path, shots: Path) -> Page:
    """Start the browser.

    Args:
        profile: an empty folder for what the browser keeps.
        shots: the folder for pictures of the window.

    Raises:
        BrowserMissing: a part is not installed.
    """
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        missing.append("selenium")
    if missing:
        raise BrowserMissing(f"{', '.join(missing)} (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    quiet = ["background-networking", "component-update", "sync", "gpu", "quic", "dev-shm-usage"]
    window = ["headless=new", "no-sandbox", "no-first-run", "window-size=1500,1200"]
    for word in (*window, *(f"disable-{each}" for each in quiet)):
        options.add_argument(f"--{word}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Page(webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver"))), shots)

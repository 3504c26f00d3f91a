"""Chromium without a screen, for tests of pages."""

import shutil
from pathlib import Path
from typing import Any

import pytest

__all__ = ["started"]


def started(folder: Path, *words: str) -> Any:
    """A driver of Chromium that records what its pages log and ask for; the test is skipped without Chromium.

    Args:
        folder: of its profile, and of `saved`, where downloads go.
        words: of its command line.
    """
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        f"--user-data-dir={folder / 'profile'}",
        *words,
    ):
        options.add_argument(word)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "saved")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))

"""Debian's Chromium, driven by Playwright: what a person sees."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@contextmanager
def open_browser() -> Iterator["Browser"]:
    """Yield a browser. Where there is none, the test is skipped, except in .ci/run, which installs one."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    if path is None:
        assert os.environ.get("ONE_NEURON_TEST_BROWSER") != "required", "chromium is not installed"
        pytest.skip("chromium is not installed (Debian: apt install chromium)")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to run as root with one
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=sandbox)
        try:
            yield browser
        finally:
            browser.close()

"""A real headless Chromium for system tests, and what its page asked of the network."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver


def need_chromium() -> None:
    """Install Debian's chromium where it is missing and this is root; else say what to type."""
    if shutil.which("chromium") and shutil.which("chromedriver"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise RuntimeError("these tests need Chromium: apt-get install chromium chromium-driver")
    for command in (["update"], ["install", "-y", "chromium", "chromium-driver"]):
        subprocess.run(["apt-get", "-qq", *command], check=True, timeout=600)


@contextmanager
def chromium(width: int, height: int) -> Iterator[Any]:
    """Yield a driver of a headless Chromium with a viewport of this size."""
    need_chromium()
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.add_argument("--disable-background-networking")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = webdriver.ChromeService(str(shutil.which("chromedriver")))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_page_load_timeout(240)
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        yield driver
    finally:
        driver.quit()


def asked_for(driver: Any) -> set[str]:
    """Every address that the page asked for, those that were blocked too."""
    found = set()
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.add(message["params"]["request"]["url"])
    return found


def photograph(driver: Any, path: Path) -> None:
    """Save the whole page as it is shown, not only what is on the screen."""
    import base64

    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    path.write_bytes(base64.b64decode(shot["data"]))

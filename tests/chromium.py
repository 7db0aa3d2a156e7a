"""Debian's Chromium, driven by selenium, for tests of pages (packages chromium, chromium-driver)."""

from __future__ import annotations

import json
import os

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
DESK = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}


class Browser:
    """Chromium, driven; every page that it opens must be silent and load nothing."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, path, size=DESK, *, dark=False):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen", "features": [scheme]})
        self.driver.get_log("performance")
        self.driver.get(path.as_uri())
        return self

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0]).innerText", selector)

    def texts(self, selector):
        found = self.run(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)", selector
        )
        return [" ".join(text.split()) for text in found]

    def press(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def requests(self):
        """Addresses that were asked for since the page was opened."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:,")]

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]


def assert_silent_and_fitting(browser, page, size):
    """Open a page: no errors, no requests but the page itself, nothing wider than the window."""
    browser.open(page, size)
    width = browser.run("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert width[0] <= width[1] == size["width"]
    # Opened in full, nothing hidden is wider either.
    browser.run("for (const box of document.querySelectorAll('details')) box.open = true")
    assert browser.run("return document.documentElement.scrollWidth") <= size["width"]
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]


def start():
    """A browser of its own; the caller ends it with ``browser.driver.quit()``."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    if os.geteuid() == 0:  # Chromium's own sandbox does not work for root, as whom containers run
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.set_page_load_timeout(300)
    return Browser(driver)

"""The report in Chromium: sliders, folding, keys, print, phone and desktop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.browsers import CHROMIUM
from helpers.reports import make_report
from tellapart.evaluation.learning_curve import fit_learning_curve
from tellapart.report.run.page import render

pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    images = np.arange(400)
    right = np.array([160, 80, 40])[:, None] <= images
    curve = fit_learning_curve([100, 200, 400], right, images, 400)
    page = folder / "report.html"
    page.write_text(render(replace(make_report(folder), learning=curve)))
    return page


@pytest.fixture
def page(browser: Any, file: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The report, on a screen of the test's choice. Nothing may fail in it, or load anything."""
    width = getattr(request, "param", 1280)
    context = browser.new_context(viewport={"width": width, "height": 900})
    opened, faults, asked = context.new_page(), [], []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda message: faults.append(message.text))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(file.as_uri())
    yield opened
    assert faults == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    context.close()


def test_the_threshold_is_moved_by_hand(page: Any):
    slider = page.get_by_label("Threshold", exact=True)
    slider.fill("0")
    assert page.locator("#sweep-line").inner_text().startswith("At 0\u202f%, 0 of 20 images go")
    slider.press("End")
    assert page.locator("#sweep-line").inner_text().startswith("At 99\u202f%, ")


def test_another_class_and_another_probability_are_told_in_words(page: Any):
    line = page.locator("#curve-line")
    page.get_by_role("combobox").select_option("bee")
    assert "10 images of ‘bee’ are found" in line.inner_text()
    page.get_by_label("Probability", exact=True).fill("0")
    assert line.inner_text().startswith("From 1\u202f% on, 10 of 10 images of ‘bee’")


def test_sections_fold_and_a_link_opens_the_one_that_it_leads_to(page: Any):
    page.get_by_role("button", name="Fold all").click()
    assert page.locator("details.fold[open]").count() == 0
    page.get_by_role("link", name="How do I use it?").click()
    assert page.locator("#use details.fold[open]").count() == 1
    page.get_by_role("button", name="Fold all").click()
    page.get_by_role("button", name="Open all").click()
    assert page.locator("details.fold:not([open])").count() == 0


def test_a_key_goes_to_the_next_section(page: Any):
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.textContent.trim()") == "The score"
    page.keyboard.press("Enter")
    assert page.locator("#score details.fold[open]").count() == 0


def test_on_paper_all_is_open(page: Any):
    page.get_by_role("button", name="Fold all").click()
    page.emulate_media(media="print")
    assert page.locator("#use .snippet").first.is_visible()
    assert not page.get_by_label("Threshold", exact=True).is_visible()


@pytest.mark.parametrize("page", [390, 1280], indirect=True)
def test_no_screen_has_a_serious_fault(page: Any):
    found = axe.Axe().run(page).response["violations"]
    assert [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

"""The page at /, driven as people use it, in Chromium."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.browsers import CHROMIUM
from helpers.serving import Serving, serving

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Serving]:
    with serving(model, workers=2) as running:
        yield running


@pytest.fixture
def page(browser: Any, server: Serving, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, on a screen of the test's choice. Nothing may fail in it, or reach another host."""
    context = browser.new_context(**getattr(request, "param", {}))
    opened, faults, asked = context.new_page(), [], []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.on(
        "console", lambda told: faults.append(told.text) if "Security Policy" in told.text else None
    )
    home = f"http://127.0.0.1:{server.port}/"
    opened.goto(home)
    sync_api.expect(opened).to_have_title(re.compile("^m "))
    yield opened
    assert not faults
    assert not [url for url in asked if not url.startswith((home, "blob:", "data:"))]
    context.close()


def give(page: Any, *files: Path) -> None:
    count = page.locator("#rows tr").count() + len(files)
    page.set_input_files("#files", [str(file) for file in files])
    sync_api.expect(page.locator("#rows tr")).to_have_count(count)


def without_faults(page: Any) -> None:
    violations = axe.Axe().run(page).response["violations"]
    assert [entry["id"] for entry in violations if entry["impact"] in ("serious", "critical")] == []


@pytest.mark.parametrize(
    "page", [{}, {**PHONE, "color_scheme": "dark"}, {"color_scheme": "dark"}], indirect=True
)
def test_an_image_gets_an_answer_in_words(page: Any, shown: Path):
    without_faults(page)
    give(page, shown / "sky" / "000.jpg")
    assert page.inner_text("#decision") in ("sky", "I am not sure. Perhaps sky.")
    assert "%" in page.inner_text("#explanation")
    assert page.locator("#bars li").count() == 3
    page.check("#show-heat")
    assert page.is_visible("#heat")
    width = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert width
    without_faults(page)


def test_a_file_that_is_no_image_is_told(page: Any, tmp_path: Path):
    (tmp_path / "letter.txt").write_text("hello")
    give(page, tmp_path / "letter.txt")
    assert page.inner_text("#decision") == "This file is no image."


def test_names_are_text(page: Any, shown: Path, tmp_path: Path):
    evil = tmp_path / "<img src=x onerror=document.title='caught'>.jpg"
    evil.write_bytes((shown / "sky" / "000.jpg").read_bytes())
    give(page, evil)
    assert evil.name in page.inner_text("#rows")
    assert page.title() != "caught"


def test_several_images_become_a_table_to_save(page: Any, shown: Path, tmp_path: Path):
    formula = tmp_path / "=1+1.jpg"
    formula.write_bytes((shown / "leaf" / "001.jpg").read_bytes())
    give(page, *sorted(shown.glob("*/00[01].jpg")), formula)
    sync_api.expect(page.locator("#progress")).to_have_text("7 answered")
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "answers.csv")
    with (tmp_path / "answers.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 and {row["status"] for row in rows} == {"ok"}
    assert "'=1+1.jpg" in {row["image"] for row in rows}
    page.locator("#rows button").last.click()
    assert page.inner_text("#name") == page.locator("#rows button").last.inner_text()
    page.click("#clear")
    assert page.is_hidden("#visit") and page.is_hidden("#result")


def test_the_camera_takes_photos(page: Any):
    page.click("#camera")
    sync_api.expect(page.locator("#viewfinder")).to_be_visible()
    without_faults(page)
    page.click("#shoot")
    page.wait_for_selector("#rows tr")
    assert page.inner_text("#rows button") == "photo 1.jpg"
    page.click("#stop")
    assert page.is_hidden("#viewfinder") and page.is_visible("#camera")


def test_the_keyboard_reaches_everything(page: Any, shown: Path):
    give(page, shown / "sky" / "000.jpg")
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(10):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"files", "camera", "show-heat", "save", "clear"} <= set(reached)


def test_an_image_is_pasted_and_dropped(page: Any, shown: Path):
    data = list((shown / "brick" / "000.jpg").read_bytes())
    for kind, carrier in (("paste", "clipboardData"), ("drop", "dataTransfer")):
        page.evaluate(
            """([data, kind, carrier]) => {
              const transfer = new DataTransfer();
              transfer.items.add(new File([new Uint8Array(data)], `${kind}.jpg`, {type: "image/jpeg"}));
              const event = kind === "drop"
                ? new DragEvent(kind, {dataTransfer: transfer, bubbles: true})
                : new ClipboardEvent(kind, {clipboardData: transfer, bubbles: true});
              document.body.dispatchEvent(event);
            }""",
            [data, kind, carrier],
        )
        sync_api.expect(page.locator("#rows")).to_contain_text(f"{kind}.jpg")

"""The review in Chromium, and its routes, as people and strangers use them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.browsers import CHROMIUM
from helpers.reviewing import finding, fix_of, reviewing, write_findings, write_fixes
from tellapart import Run
from tellapart.catalog.fixes import read_fixes

pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def audited(run: Run, shown: Path) -> Path:
    """The run with findings about nine images, the last of which is disputed in `disputed`."""
    labels = [finding(shown, f"sky/00{place}.jpg", proposal="brick") for place in range(1, 8)]
    outlier = finding(shown, "leaf/002.jpg", kind="outlier", title="Unlike the rest")
    disputed = finding(shown, "sky/008.jpg", proposal="leaf")
    whole = {**outlier, "kind": "shortcut", "title": "Size tells the classes", "images": []}
    write_findings(run.path / "audit" / "findings.jsonl", *labels, outlier, disputed, whole)
    return run.path


@pytest.fixture(scope="module")
def patch_file(shown: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people disagree on one image."""
    ann = fix_of(shown, "sky/008.jpg", "keep", "sky")
    bob = fix_of(shown, "sky/008.jpg", "drop", "sky", who="bob")
    return write_fixes(tmp_path_factory.mktemp("fixes") / "fixes.jsonl", ann, bob)


@pytest.fixture(scope="module")
def address(audited: Path, shown: Path, patch_file: Path) -> Iterator[str]:
    with reviewing(audited, shown, patch_file, who="cy") as found:
        yield found


@pytest.fixture
def page(browser: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, on a screen of the test's choice. Nothing may fail in it, or reach another host."""
    context = browser.new_context(**getattr(request, "param", {}))
    opened, faults, asked = context.new_page(), [], []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on("console", lambda told: faults.append(told.text) if told.type == "error" else None)
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(address)
    opened.wait_for_selector("#frame img")
    yield opened
    opened.wait_for_selector("#saved:not(.waits)")
    assert not faults
    assert not [url for url in asked if not url.startswith((address, "data:"))]
    context.close()


def press(page: Any, *keys: str) -> None:
    """Keys, each after the image of the one before has come."""
    for key in keys:
        shown = page.get_attribute("#frame img", "data-item")
        page.keyboard.press(key)
        page.wait_for_selector(f"#frame img:not([data-item='{shown}'])")


def saved(page: Any, file: Path) -> list[Any]:
    """The lines of the page's person, once all are saved."""
    page.wait_for_selector("#saved:not(.waits)")
    return [fix for fix in read_fixes(file).lines if fix.who == "cy"]


def without_faults(page: Any) -> None:
    violations = axe.Axe().run(page).response["violations"]
    assert [entry["id"] for entry in violations if entry["impact"] in ("serious", "critical")] == []


def test_what_people_disagree_on_comes_first(page: Any):
    assert page.input_value("#show") == "disputed"
    assert "ann says sky, bob says (dropped)" in page.inner_text("#dispute")


@pytest.mark.parametrize("page", [{}, {**PHONE, "color_scheme": "dark"}], indirect=True)
def test_nobody_is_kept_out(page: Any):
    page.select_option("#show", "all")
    without_faults(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.click("#view")
    page.wait_for_selector("#tiles img")
    without_faults(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_one_key_is_one_decision_and_undo_takes_it_back(page: Any, patch_file: Path):
    page.select_option("#show", "open")
    page.wait_for_selector("#frame img[data-item='0']")
    press(page, "b", "Delete", "Space", "Enter")
    decided = saved(page, patch_file)[-4:]
    assert [fix.action for fix in decided] == ["relabel", "drop", "later", "keep"]
    assert (decided[0].path, decided[0].was, decided[0].now) == ("sky/001.jpg", "sky", "brick")
    press(page, *["Backspace"] * 4)
    assert [fix.action for fix in saved(page, patch_file)[-4:]] == ["undo"] * 4


def test_a_number_gives_the_class_on_its_button(page: Any, patch_file: Path):
    page.select_option("#show", "open")
    page.wait_for_selector("#frame img[data-item='0']")
    names = page.locator("#choices button").all_inner_texts()
    press(page, "3")
    assert names[2].endswith("leaf") and saved(page, patch_file)[-1].now == "leaf"
    press(page, "Control+z")


def test_a_new_class_is_made_on_purpose(page: Any, patch_file: Path):
    page.select_option("#show", "open")
    page.fill("#class-name", "cloud")
    page.keyboard.press("Enter")
    assert "“cloud” is no class" in page.inner_text("#new-class")
    page.click("#make")
    assert saved(page, patch_file)[-1].now == "cloud" and saved(page, patch_file)[-1].new
    press(page, "Backspace")


def test_the_grid_decides_on_many(page: Any, patch_file: Path):
    page.select_option("#show", "open")
    page.select_option("#kind", "label")
    page.click("#view")
    page.click("#tiles button >> nth=1")
    page.click("#grid-keep")
    kept = [fix.path for fix in saved(page, patch_file) if fix.action == "keep"]
    assert {"sky/001.jpg", "sky/003.jpg"} <= set(kept)
    assert "sky/002.jpg" not in kept[-6:]
    page.click("#grid-undo")


def test_a_key_shows_the_heat_map_and_the_image_again(page: Any):
    page.keyboard.press("*")
    page.wait_for_selector("#frame img[alt*='heat map of the answer']")
    assert "speak for it" in page.inner_text("#heat-text")
    without_faults(page)
    page.keyboard.press("*")
    page.wait_for_selector("#frame img[src$='/large']")
    assert page.inner_text("#heat-text") == ""


def test_the_next_image_comes_without_a_heat_map(page: Any):
    page.select_option("#show", "all")
    page.wait_for_selector("#frame img[data-item='0']")
    page.keyboard.press("*")
    press(page, "ArrowRight")
    assert page.get_attribute("#heat", "aria-pressed") == "false"
    assert page.is_visible("#frame img[src$='/large']")


def test_the_words_of_a_label_error_do_not_tell_label_from_proposal(page: Any):
    page.wait_for_selector("#frame img[data-item='0']")
    assert page.inner_text("#title") == "Which class does the image show?"
    assert page.inner_text("#text") == ""
    page.click("#facts summary")
    assert "Perhaps a wrong label" in page.inner_text("#fact-list")


def test_the_nearest_training_images_stand_beside(page: Any):
    page.wait_for_selector("#near-list img")
    assert page.locator("#near-list li").count() == 3
    assert "likeness" in page.inner_text("#near-list li >> nth=0")


def test_filters_show_kinds_and_classes(page: Any):
    page.select_option("#show", "all")
    page.select_option("#kind", "outlier")
    assert page.inner_text("#title") == "Unlike the rest"
    page.select_option("#class", "brick")
    assert page.is_visible("#done")


def test_a_finding_without_images_is_told_too(page: Any):
    page.click("#whole summary")
    assert "Size tells the classes" in page.inner_text("#whole-list")


def ask(address: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON of one request."""
    request = urllib.request.Request(address, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_strangers_are_refused(address: str):
    root = address.rsplit("/", 2)[0]
    body = b'{"decisions": [{"item": 0, "action": "drop"}]}'
    assert ask(f"{root}/decisions", body)[0] == 404  # without the secret word
    assert ask(f"{address}decisions", body, Origin="http://evil.example")[0] == 403
    assert ask(f"{address}stream.json", Host="evil.example")[0] == 421


@pytest.mark.parametrize(
    "entry",
    [
        {"item": 99, "action": "drop"},
        {"item": -1, "action": "drop"},
        {"item": 0, "action": "burn"},
        {"item": 0, "action": "relabel"},
        {"item": 0, "action": "relabel", "now": "cow"},
        {"item": 0, "action": "relabel", "now": "a\nb", "new": True},
        7,
    ],
)
def test_what_is_no_decision_is_refused(address: str, patch_file: Path, entry: object):
    before = patch_file.read_bytes()
    status, answer = ask(f"{address}decisions", json.dumps({"decisions": [entry]}).encode())
    assert (status, answer["error"]["code"]) in [(400, "bad_decision"), (400, "no_class")]
    assert patch_file.read_bytes() == before

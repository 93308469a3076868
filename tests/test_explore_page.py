"""The pages of `explore`: what they say, that they load nothing, and that they stay small."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.pages import HOSTILE, Page
from helpers.reports import noise_catalog
from tellapart.catalog.files import Folder
from tellapart.catalog.findings import Finding
from tellapart.catalog.table import text_column
from tellapart.report.check.page import SIDE_PX, Step, render_steps, step_lines
from tellapart.report.explore.file_table import MOST_ROWS, file_rows
from tellapart.report.explore.light import appearance_lines, extremes, measures
from tellapart.report.explore.page import ExplorationInput, render_exploration, summary_lines
from tellapart.report.explore.shapes import shapes
from tellapart.report.explore.shortcuts import auroc, shortcuts
from tellapart.report.parts.data_section import MOST_IN_SET, MOST_SETS
from tellapart.report.parts.gallery import Album


def make_exploration(
    root: Path, classes=("ant", "bee"), each: int = 60, files: int = 6
) -> ExplorationInput:
    """`each` images a class, a third of them in each split, whose size and appearance say nothing about
    the class.
    """
    rng = np.random.default_rng(0)
    catalog = noise_catalog(root, classes, each, files, rng)
    count = len(catalog)
    catalog = catalog.replace(
        statuses=text_column(["ok"] * count),
        notes=text_column([""] * count),
        widths=rng.integers(100, 1000, count),
        heights=rng.integers(100, 1000, count),
        splits=text_column(("train", "val", "test")[row % 3] for row in range(count)),
    )
    return ExplorationInput(
        title="Insects",
        created="1 May 2025",
        catalog=catalog,
        findings=(),
        appearance=rng.uniform(40, 100, (count, 3)).astype(np.float32),
        seconds=1.25,
    )


def changed(exploration: ExplorationInput, **columns) -> ExplorationInput:
    return replace(exploration, catalog=exploration.catalog.replace(**columns))


def text_of(exploration: ExplorationInput) -> str:
    return " ".join(Page(render_exploration(exploration)).text.replace("\u202f", " ").split())


@pytest.fixture
def exploration(tmp_path):
    return make_exploration(tmp_path)


@pytest.fixture
def found(exploration):
    """With one finding of two sets; images of the second are in it only."""
    leak = Finding(
        "leak", "Two are in train and test.", (("c0/0.png", "c0/1.png"), ("c1/1.png", "c1/2.png"))
    )
    return replace(exploration, findings=(leak,))


@pytest.fixture
def walk():
    pixels = np.arange(30 * 40 * 3, dtype=np.uint8).reshape(30, 40, 3)
    return [
        Step("Decoded", "Upright, in RGB.", {"shape": "30 × 40 × 3", "range": "0 to 255"}, pixels),
        Step(
            "Answer",
            "After calibration.",
            {"temperature": "1.1"},
            bars=(("ant", 0.9), ("bee", 0.1)),
        ),
    ]


# ── one file that loads nothing ──


def pages(found, walk) -> list[Page]:
    return [Page(render_exploration(found)), Page(render_steps("ant.jpg", "1 May 2025", walk))]


def test_nothing_is_loaded_from_anywhere(found, walk):
    for page in pages(found, walk):
        assert all(
            value.startswith(("data:image/", "#")) for value in page.values("src", "href", "srcset")
        )


def test_the_policy_allows_exactly_the_inlined_blocks(found, walk):
    for page in pages(found, walk):
        blocks = [*page.blocks["style"], *page.blocks["script"]]
        hashes = [
            base64.b64encode(hashlib.sha256(block.encode()).digest()).decode() for block in blocks
        ]
        assert len(blocks) == 2
        assert re.findall(r"'sha256-(.+?)'", page.policy) == hashes


def test_no_tag_carries_styles_or_handlers_that_the_policy_would_block(found, walk):
    for page in pages(found, walk):
        names = {name for _, attrs in page.tags for name in attrs}
        assert not [name for name in names if name == "style" or name.startswith("on")]


def test_headings_are_in_order_and_links_lead_somewhere(found, walk):
    for page in pages(found, walk):
        levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
        assert all(after <= before + 1 for before, after in pairwise(levels))
        assert {value[1:] for value in page.values("href")} <= set(page.values("id"))
        assert len(page.values("id")) == len(set(page.values("id")))


def test_hostile_names_are_text(found):
    paths = found.catalog.paths.copy().astype(object)
    paths[0] = HOSTILE
    findings = (Finding("leak", HOSTILE, ((HOSTILE, "c0/1.png"),)), Finding(HOSTILE, "Odd."))
    named = changed(found, paths=paths, classes=(HOSTILE, "line\nbreak"), source=HOSTILE)
    page = Page(render_exploration(replace(named, findings=findings, title=HOSTILE)))
    assert "onerror" not in {name for _, attrs in page.tags for name in attrs}
    assert page.text.count(HOSTILE) > 8
    assert r"line\nbreak" in page.text


def test_hostile_names_are_text_in_a_walk(walk):
    page = Page(
        render_steps(
            HOSTILE,
            "now",
            [replace(walk[0], facts={HOSTILE: HOSTILE}), replace(walk[1], name=HOSTILE)],
        )
    )
    assert "onerror" not in {name for _, attrs in page.tags for name in attrs}
    assert page.text.count(HOSTILE) >= 4


# ── the verdict ──


def test_clean_data_is_called_clean(exploration):
    assert "120 images in 2 classes; every file can be used. Nothing stands in the way" in text_of(
        exploration
    )


def test_the_verdict_counts_what_is_serious_and_the_list_leads_there(found):
    page = Page(render_exploration(found))
    assert "Fix this first: 2 images are in more than one split." in page.text
    assert "#finding-1" in page.values("href")
    assert "finding-1" in page.values("id")


def test_the_worst_finding_comes_first(exploration):
    kinds = ("remark", "duplicate", "rejected", "leak", "label_conflict")
    lines = summary_lines(
        replace(exploration, findings=tuple(Finding(kind, f"A {kind}.") for kind in kinds))
    )
    said = [line.rpartition(" ")[2] for line in lines[1:6]]
    assert said == ["leak.", "label_conflict.", "duplicate.", "rejected.", "remark."]


def test_files_that_cannot_be_used_are_counted(exploration):
    statuses = exploration.catalog.statuses.copy()
    statuses[:3] = "truncated"
    text = text_of(changed(exploration, statuses=statuses))
    assert "117 of 120 files can be used" in text
    assert "The file stops before its image is complete" in text


def test_one_class_is_nothing_to_tell_apart(tmp_path):
    assert "Training needs at least two classes" in text_of(make_exploration(tmp_path, ("ant",)))


def test_no_data_still_makes_a_page(tmp_path):
    empty = make_exploration(tmp_path, (), 0)
    assert "There are no usable images here." in text_of(empty)
    assert len(summary_lines(empty)) == 2


def test_the_appearance_of_another_catalog_is_refused(exploration):
    with pytest.raises(ValueError, match=r"appearance must be \(120, 3\)"):
        replace(exploration, appearance=exploration.appearance[:, :2])


# ── balance ──


def test_even_classes_are_called_even(exploration):
    assert "Always giving the same answer would be correct 50.0 %" in text_of(exploration)


def test_uneven_classes_bring_balanced_accuracy_to_the_front(exploration):
    labels = np.where(np.arange(120) < 12, 0, 1)
    text = text_of(changed(exploration, labels=labels))
    assert "Always answering ‘bee’ would be correct 90.0 %" in text
    assert "Balanced accuracy, which counts every class equally, will be shown first" in text


def test_classes_too_small_to_trust_are_named_with_what_they_need(exploration):
    text = text_of(exploration)
    assert "Every class has fewer than 30 test images (‘ant’ and ‘bee’)" in text
    assert "about 90 images of a class" in text


def test_without_splits_it_says_so(exploration):
    text = text_of(changed(exploration, splits=text_column([""] * 120)))
    assert "Training would stop here" in text
    assert "Nothing stands in the way" not in text
    assert "no splits could be made" in text


# ── sizes ──


def test_sizes_are_told_with_what_will_be_enlarged(exploration):
    widths, heights = np.full(120, 640), np.full(120, 480)
    widths[0], heights[0], widths[1], heights[1] = 100, 90, 4000, 3000
    lines = " ".join(
        shapes(changed(exploration, widths=widths, heights=heights).catalog, 224).lines
    )
    assert "The images have 100 × 90 to 4,000 × 3,000 pixels" in lines
    assert "1 of 120 images has a side shorter than the network’s 224 pixels" in lines
    assert "98.3\u202f% have exactly 640 × 480" in lines


def test_one_size_needs_no_diagram(exploration):
    same = changed(exploration, widths=np.full(120, 32), heights=np.full(120, 32))
    assert "All images are 32 × 32 pixels." in text_of(same)
    assert shapes(same.catalog, 0).map is None


def test_the_dots_of_the_size_map_stand_for_all_images(exploration):
    diagram = shapes(exploration.catalog, 0).map
    assert sum(int(dot.text.rpartition(" ")[2]) for dot in diagram.dots) == 120
    assert all(diagram.across.start <= dot.x <= diagram.across.end for dot in diagram.dots)


# ── light and colour ──


def test_dark_bright_and_grey_images_are_counted_and_shown(exploration):
    appearance = exploration.appearance.copy()
    appearance[:4, 0], appearance[5, 0], appearance[:6, 2] = 10, 250, 0
    lines = " ".join(appearance_lines(exploration.catalog, appearance))
    assert (
        "4 images are very dark (brightness under 30), 1 image is very bright (over 225)" in lines
    )
    assert "6 of 120 images are grey, most often in ‘ant’ (10.0\u202f%)" in lines
    ends = extremes(exploration.catalog, appearance, Album(exploration.catalog.files.read))
    assert [end.heading for end in ends] == ["Darkest", "Brightest", "Flattest", "Least colour"]
    assert ends[1].shots[0].path == "c0/5.png"


def test_all_grey_is_said(exploration):
    appearance = exploration.appearance.copy()
    appearance[:, 2] = 0.5
    assert "All images are grey" in text_of(replace(exploration, appearance=appearance))


def test_looks_that_are_not_known_are_no_numbers(exploration):
    unknown = replace(exploration, appearance=np.full((120, 3), np.nan, np.float32))
    page = Page(render_exploration(unknown))
    assert "were not measured" in page.text
    assert "nan" not in page.text


def test_copies_of_the_darkest_are_shown_once(exploration):
    digests = exploration.catalog.digests.astype(object)
    digests[:50] = "same"
    appearance = exploration.appearance.copy()
    appearance[:50, 0] = 1
    catalog = exploration.catalog.replace(digests=digests)
    darkest = extremes(catalog, appearance, Album(catalog.files.read))[0]
    assert [shot.path for shot in darkest.shots].count("c0/0.png") == 1
    assert darkest.shots[1].path not in catalog.paths[:50]


def test_histograms_are_per_class_as_long_as_they_are_few(exploration, tmp_path):
    assert [
        len(measure.histograms) for measure in measures(exploration.catalog, exploration.appearance)
    ] == [2, 2, 2]
    many = make_exploration(tmp_path, tuple(map(str, range(13))), 3)
    assert [len(measure.histograms) for measure in measures(many.catalog, many.appearance)] == [
        1,
        1,
        1,
    ]


# ── shortcuts ──


def test_data_without_shortcuts_has_none(exploration):
    assert shortcuts(exploration.catalog, exploration.appearance) == []


def test_a_class_of_one_size_is_a_shortcut(exploration):
    ants = exploration.catalog.labels == 0
    widths, heights = (np.where(ants, side, exploration.catalog.widths) for side in (640, 480))
    hints = shortcuts(
        exploration.catalog.replace(widths=widths, heights=heights), exploration.appearance
    )
    assert (
        hints[0].text
        == "100.0\u202f% of ‘ant’ are exactly 640 × 480 pixels, against 0.0\u202f% of the other images."
    )


def test_a_darker_class_is_a_shortcut_told_once(exploration):
    appearance = exploration.appearance.copy()
    appearance[:60, 0] -= 60
    (hint,) = shortcuts(exploration.catalog, appearance)
    assert hint.text.startswith("‘ant’ is darker than ‘bee’ in 100.0\u202f% of all pairs")
    assert hint.text in text_of(replace(exploration, appearance=appearance)).replace(
        " %", "\u202f%"
    )


def test_a_file_type_of_its_own_is_a_shortcut(exploration):
    paths = text_column(str(path).replace(".png", ".jpeg") for path in exploration.catalog.paths)
    paths[60:] = exploration.catalog.paths[60:]
    texts = [
        hint.text
        for hint in shortcuts(exploration.catalog.replace(paths=paths), exploration.appearance)
    ]
    assert "100.0\u202f% of ‘ant’ are .jpg files, against 0.0\u202f% of the other images." in texts


def test_few_images_are_no_evidence(tmp_path):
    few = make_exploration(tmp_path, each=15)
    assert (
        shortcuts(
            few.catalog.replace(widths=np.where(few.catalog.labels == 0, 10, 900)), few.appearance
        )
        == []
    )


def test_auroc_counts_pairs():
    rng = np.random.default_rng(0)
    values, labels = rng.integers(0, 9, 50).astype(float), rng.integers(0, 3, 50)
    own, rest = values[labels == 1], values[labels != 1]
    pairs = (own[:, None] > rest).mean() + (own[:, None] == rest).mean() / 2
    assert auroc(values, labels, 3)[1] == pytest.approx(pairs)


# ── findings side by side ──


def test_a_set_is_seen_side_by_side_with_class_and_split(found):
    html = render_exploration(found)
    sets = re.findall(r'<div class="set">(.*?)</div></div>', html.replace("\n", ""))
    assert len(sets) == 2
    assert sets[0].count("<img") == 2
    assert ">bee</span>" in sets[1]
    assert ">val</span>" in sets[1]
    assert ">test</span>" in sets[1]


def test_a_image_of_two_findings_is_seen_in_both_without_a_script(found):
    both = replace(
        found, findings=(*found.findings, Finding("duplicate", "Again.", found.findings[0].sets))
    )
    html = render_exploration(both)
    assert "shown elsewhere" not in html
    assert html.count('alt="c0/0.png"') >= 2


def test_sets_are_bounded_and_the_rest_is_listed(exploration):
    paths = [str(path) for path in exploration.catalog.paths]
    sets = tuple(tuple(paths[start : start + 10]) for start in range(0, 100, 10))
    html = render_exploration(replace(exploration, findings=(Finding("duplicate", "Many.", sets),)))
    assert html.count('<div class="set">') == MOST_SETS
    assert html.count("and 4 more") == MOST_SETS + 2
    assert "<summary>2 more</summary>" in html
    first = html[html.index('<div class="set">') :]
    assert first[: first.index("</div>")].count("<figure") == MOST_IN_SET


def test_single_images_share_one_row(exploration):
    sets = tuple((f"c0/{number}.png",) for number in range(5))
    html = render_exploration(
        replace(exploration, findings=(Finding("suspect_label", "Look.", sets),))
    )
    assert html.count('<div class="set">') == 1


def test_files_that_were_not_used_have_no_image(exploration):
    page = Page(
        render_exploration(
            replace(exploration, findings=(Finding("rejected", "Cut off.", (("c0/0.png",),)),))
        )
    )
    assert "Cut off." in page.text
    assert "finding-1" not in page.values("id")


def test_a_missing_image_is_named_and_stops_nothing(found):
    page = Page(render_exploration(changed(found, files=Folder(Path("nowhere")))))
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "missing" in page.text


# ── the table ──


def test_the_table_has_every_file_of_a_small_set(found):
    rows = file_rows(found.catalog, found.appearance)
    assert {row.path for row in rows} == set(found.catalog.paths)
    assert (rows[0].folder, rows[0].name, rows[0].class_name, rows[0].split) == (
        "c0/",
        "0.png",
        "ant",
        "train",
    )


def test_the_table_begins_with_what_needs_a_look(exploration):
    catalog = exploration.catalog
    statuses, notes, digests = (
        catalog.statuses.copy(),
        catalog.notes.copy(),
        catalog.digests.astype(object),
    )
    statuses[100], notes[50], digests[[20, 30]] = "empty", "first_frame;bad_exif", "same"
    changed_catalog = catalog.replace(statuses=statuses, notes=notes, digests=digests)
    rows = file_rows(changed_catalog, exploration.appearance)
    assert [row.path for row in rows[:4]] == [catalog.paths[row] for row in (100, 50, 20, 30)]
    assert rows[1].notes == "first_frame, bad_exif"
    assert [row.copies for row in rows[:4]] == [0, 0, 1, 1]


def test_a_long_table_is_a_sample_and_says_so(tmp_path):
    many = make_exploration(tmp_path, each=1_500)
    statuses = many.catalog.statuses.copy()
    statuses[2_990:] = "empty"
    rows = file_rows(many.catalog.replace(statuses=statuses), many.appearance)
    assert len(rows) == MOST_ROWS
    assert sum(row.status == "empty" for row in rows) == 10
    assert 900 < sum(row.class_name == "ant" for row in rows) < 1_100
    assert "2,000 of 3,000 files" in text_of(many)


def test_numbers_in_the_table_sort_as_numbers(exploration):
    html = render_exploration(exploration)
    assert f'data-value="{exploration.appearance[0, 0]:.1f}"' in html
    assert 'class="sortable filtered"' in html


# ── size and speed ──


def test_a_thousand_classes_make_a_small_page_quickly(tmp_path):
    many = make_exploration(tmp_path, tuple(f"class {number}" for number in range(1_000)), each=20)
    started = time.perf_counter()
    html = render_exploration(many)
    assert time.perf_counter() - started < 10
    assert len(html.encode()) < 8_000_000
    assert "40 of 1,000 classes" in html


# ── one image, step by step ──


def test_each_step_has_its_image_and_its_numbers(walk):
    page = Page(render_steps("ant.jpg", "1 May 2025", walk))
    (image,) = [attrs for tag, attrs in page.tags if tag == "img"]
    assert (image["width"], image["height"], image["class"]) == (str(SIDE_PX), "240", "enlarged")
    assert str(image["src"]).startswith("data:image/png;base64,")
    assert "30 × 40 × 3" in page.text
    assert "0 to 255" in page.text
    assert "90.0\u202f%" in page.text


def test_small_images_keep_every_pixel(walk):
    html = render_steps("ant.jpg", "now", walk)
    png = base64.b64decode(re.search(r"data:image/png;base64,([^\"]+)", html)[1])
    assert (np.asarray(Image.open(io.BytesIO(png))) == walk[0].image).all()


def test_large_images_are_made_smaller():
    large = np.zeros((1500, 3000, 3), np.uint8)
    html = render_steps("ant.jpg", "now", [Step("Decoded", "Large.", image=large)])
    assert "data:image/jpeg" in html
    assert len(html) < 200_000


def test_the_walk_as_lines(walk):
    lines = step_lines([*walk, Step("line\nbreak", "x")])
    assert lines[0] == "1. Decoded: Upright, in RGB."
    assert lines[1] == "   shape  30 × 40 × 3"
    assert "   ant          90.0\u202f%" in lines
    assert lines[-1] == r"3. line\nbreak: x"


def test_a_walk_without_steps_is_refused():
    with pytest.raises(ValueError, match="no steps"):
        render_steps("ant.jpg", "now", [])

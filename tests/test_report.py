"""The report: one file, everything in it, nothing executed that is not ours."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from helpers.pages import HOSTILE, Page
from helpers.predictions import with_probs
from helpers.reports import make_predictions, make_report
from tellapart.catalog.files import Folder
from tellapart.catalog.findings import Finding
from tellapart.evaluation.metrics import measure
from tellapart.report.parts.gallery import MOST_IMAGES
from tellapart.report.run.page import render


@pytest.fixture
def report(tmp_path):
    return make_report(tmp_path)


def test_nothing_is_loaded_from_anywhere(report):
    page = Page(render(report))
    assert all(
        value.startswith(("data:image/jpeg;base64,", "#"))
        for value in page.values("src", "href", "srcset")
    )
    assert not any(re.search(r"url\(|@import|https?:", block) for block in page.blocks["style"])


def test_the_policy_allows_exactly_the_inlined_blocks(report):
    page = Page(render(report))
    hashes = [
        base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        for block in (page.blocks["style"][0], page.blocks["script"][1])
    ]
    assert len(page.blocks["style"]) == 1
    assert len(page.blocks["script"]) == 2  # the data, which never runs, and the script
    assert re.findall(r"'sha256-(.+?)'", page.policy) == hashes
    assert "default-src 'none'; img-src data:;" in page.policy


def test_no_tag_carries_styles_or_handlers_that_the_policy_would_block(report):
    names = {name for _, attrs in Page(render(report)).tags for name in attrs}
    assert not [name for name in names if name == "style" or name.startswith("on")]


def test_hostile_names_are_text(report):
    catalog = report.catalog.replace(classes=(HOSTILE, "</script><b>"))
    paths = (HOSTILE, *report.predictions.paths[1:])
    predictions = replace(report.predictions, classes=catalog.classes, paths=paths)
    html = render(
        replace(
            report,
            catalog=catalog,
            predictions=predictions,
            metrics=measure(predictions),
            title=HOSTILE,
        )
    )
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"b"}
    assert "onerror" not in {name for _, attrs in page.tags for name in attrs}
    assert HOSTILE in page.text
    assert HOSTILE in page.content["cells"]["0-0"]["truth"]


def test_characters_that_hide_or_reverse_are_written_out(report):
    catalog = report.catalog.replace(classes=("line\nbreak", "bee\u202egpj"))
    page = Page(render(replace(report, catalog=catalog)))
    assert r"line\nbreak" in page.text
    assert r"bee\u202egpj" in page.text


def test_a_name_that_is_not_utf8_still_makes_a_file(report):
    html = render(
        replace(
            report, title="caf\udce9", findings=(Finding("remark", "Odd.", (("caf\udce9.jpg",),)),)
        )
    )
    assert r"caf\udce9" in html.encode().decode()


def test_the_verdict_gives_score_interval_and_baseline(report):
    metrics = report.metrics
    verdict = " ".join(Page(render(report)).text.replace("\u202f", " ").split())
    assert (
        "On 20 test images it has never seen, the model is correct"
        f" {100 * metrics.accuracy.value:.1f} % of the time" in verdict
    )
    assert "(95 % interval " in verdict
    assert "always answering ‘ant’ would be correct 50.0 % of the time" in verdict


def test_the_verdict_leads_with_balanced_accuracy_where_classes_are_uneven(report):
    assert "The classes are uneven" in render(
        replace(report, metrics=replace(report.metrics, balanced_first=True))
    )


def test_a_small_test_is_called_small(report):
    assert "The test split is small (20 images)" in render(report)


def test_a_score_that_reaches_the_baseline_is_called_that(report):
    useless = with_probs(report.predictions, np.tile(np.float32([0.6, 0.4]), (20, 1)))
    html = render(replace(report, predictions=useless, metrics=measure(useless, baseline_label=0)))
    assert "The interval reaches down to the baseline" in html


def test_a_run_without_val_says_that_it_is_not_calibrated(report):
    html = render(replace(report, val_predictions=None, threshold=None, temperature=1.0))
    assert "the probabilities are not calibrated" in html


def test_leaks_and_label_conflicts_weaken_the_verdict(report):
    findings = (
        Finding("leak", "Twice.", (("c0/1.png",),)),
        Finding("label_conflict", "Both.", (("c0/1.png", "c1/1.png"),)),
    )
    html = render(replace(report, findings=findings))
    assert "is in more than one split, so the score may overstate the model" in html
    assert "it has never seen" not in html
    assert "appears in more than one class: at least one label of each is wrong" in html


def test_a_finding_shows_its_sets_side_by_side_with_class_and_split(report):
    leak = Finding("leak", "Two.", (("c0/0.png", "c0/1.png"), ("c0/2.png", "c1/0.png")))
    assert leak.paths == ("c0/0.png", "c0/1.png", "c0/2.png", "c1/0.png")
    html = render(replace(report, findings=(leak,)))
    sets = re.findall(r'<div class="set">(.*?)</div></div>', html.replace("\n", ""))
    assert [one.count("<figure") for one in sets] == [2, 2]
    assert re.search(r"ant</span>.*train</span>.*ant</span>.*val</span>", sets[0])
    assert "2 images, or near copies of them, are in more than one split" in html


def test_every_status_is_counted_and_its_files_are_named(report):
    statuses = report.catalog.statuses.copy()
    statuses[:53], statuses[53] = "truncated", "empty"
    page = Page(render(replace(report, catalog=report.catalog.replace(statuses=statuses))))
    assert "54 of 60 files were not used" in page.text
    assert re.search(
        r"truncated\s.*?\s53\s.*?c0/0\.png.*?c1/19\.png.*?and 3 more", page.text, re.DOTALL
    )
    assert re.search(r"empty\s.*?\s1\s.*?c1/23\.png", page.text, re.DOTALL)


def test_notes_and_ignored_files_are_counted(report):
    notes = np.full(60, "", dtype="U60")
    notes[:2] = "first_frame;wrong_extension"
    text = Page(
        render(
            replace(report, catalog=report.catalog.replace(notes=notes, ignored={"hidden file": 7}))
        )
    ).text
    assert "wrong_extension" in text
    assert "hidden file (7)" in text


def test_a_thumbnail_is_embedded_once(report):
    findings = (Finding("suspect_label", "Look.", (report.predictions.paths[:3],)),)
    page = Page(render(replace(report, findings=findings)))
    inline = {str(attrs["id"]).removeprefix("t") for tag, attrs in page.tags if tag == "img"}
    loose = set(page.content["thumbnails"])
    assert not inline & loose
    assert set(page.values("data-key")) <= inline | loose


def test_galleries_show_without_a_script(report):
    images = [attrs for tag, attrs in Page(render(report)).tags if tag == "img"]
    assert len(images) >= 12
    assert all(str(attrs["src"]).startswith("data:image/jpeg;base64,") for attrs in images)


def test_a_cell_opens_its_images(report):
    page = Page(render(report))
    assert set(page.values("data-cell")) == set(page.content["cells"])
    cell = page.content["cells"]["0-0"]
    path, confidence, key, problem = cell["images"][0]
    assert path in report.predictions.paths
    assert confidence.endswith("%")
    assert key
    assert not problem


def test_thumbnails_are_bounded(tmp_path):
    report = make_report(
        tmp_path, tuple(f"class {number}" for number in range(25)), each=120, files=1
    )
    page = Page(render(report))
    embedded = len(page.content["thumbnails"]) + sum(tag == "img" for tag, _ in page.tags)
    assert embedded == MOST_IMAGES
    assert max(len(cell["images"]) for cell in page.content["cells"].values()) == 12
    errors = [cell for cell in page.content["cells"].values() if cell["truth"] != cell["answer"]]
    assert all(cell["images"][0][2] for cell in errors)  # the album filled up with right answers


def test_a_missing_image_is_named_and_stops_nothing(report):
    page = Page(
        render(replace(report, catalog=report.catalog.replace(files=Folder(Path("nowhere")))))
    )
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "missing" in page.text
    assert report.predictions.paths[0].rpartition("/")[2] in page.text


def test_without_a_test_split_no_score_is_claimed(report):
    text = Page(render(replace(report, predictions=None, metrics=None))).text
    assert "There is no test split" in text
    assert "of the validation split" in text
    assert "baseline" not in text


def test_without_any_predictions_the_data_is_still_reported(report):
    page = Page(
        render(
            replace(report, predictions=None, metrics=None, val_predictions=None, model_file=None)
        )
    )
    assert "is not known" in page.text
    assert "This run wrote no model file" in page.text
    assert page.content["cells"] == {}


def test_metrics_without_predictions_are_refused(report):
    with pytest.raises(ValueError, match="come together"):
        replace(report, predictions=None)


def test_a_test_without_images_is_no_score(report):
    empty = make_predictions(report.catalog, np.zeros(0, np.int64))
    assert "There is no score" in render(replace(report, predictions=empty, metrics=measure(empty)))


def test_classes_with_few_images_are_marked(report):
    assert Page(render(report)).text.count("too few to trust") == 2


def test_no_path_of_this_machine_is_shown(report, tmp_path):
    assert str(tmp_path) not in render(report)


def test_the_snippets_name_the_model_file(report):
    text = Page(render(replace(report, model_file="my model.onnx"))).text
    assert "tellapart predict 'my model.onnx' photos/" in text
    assert 'tellapart.load("my model.onnx")' in text


def test_headings_are_in_order_and_the_contents_lead_somewhere(report):
    page = Page(render(report))
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert {value[1:] for value in page.values("href")} <= set(page.values("id"))
    assert len(page.values("id")) == len(set(page.values("id")))


def test_a_thousand_classes_make_a_small_file_quickly(tmp_path):
    classes = tuple(f"class {number}" for number in range(1000))
    report = make_report(tmp_path, classes, each=6)
    started = time.perf_counter()
    html = render(report)
    assert time.perf_counter() - started < 10
    assert len(html.encode()) < 8_000_000
    text = Page(html).text
    assert all(name in text for name in classes)
    assert "These are the most frequent confusions" in text

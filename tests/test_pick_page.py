"""The page of `pick`."""

from __future__ import annotations

from collections.abc import Sequence

from helpers.pages import HOSTILE, Page
from tellapart.evaluation.metrics import Score
from tellapart.report.pick.page import (
    PickInput,
    PickRow,
    candidate_lines,
    pareto_plot,
    render_picking,
)


def row(name: str, accuracy: float = 0.9, ms: float = 10.0, **changes: object) -> PickRow:
    score = Score(accuracy, accuracy - 0.05, min(accuracy + 0.04, 1.0), 100)
    facts = {
        "megabytes": 10.0,
        "parameters": 3_000_000,
        "size_px": 224,
        "licence": "Apache-2.0",
        "seconds": 3.0,
    }
    place = {"standing": "the most accurate", "on_front": True, "within": True, "chosen": False}
    scores = {"accuracy": score, "balanced": score, "log_loss": Score(0.2, 0.1, 0.3, 100)}
    times = {"ms": ms, "decoding_ms": 0.3 * ms, "network_ms": (0.7 * ms,) * 3, "all_cores_ms": None}
    return PickRow(name=name, **(scores | times | facts | place | changes))


def page_of(rows: Sequence[PickRow], **changes: object) -> Page:
    values = {
        "title": "photos",
        "created": "1 May 2025",
        "advice": ["Take a: why."],
        "rows": rows,
        "failed": {},
    }
    more = {"next": "", "uneven": False, "cores": 1, "ran": {"seed": "0"}}
    return Page(render_picking(PickInput(**(values | more | changes))))


def test_the_page_shows_hostile_names_as_text_and_loads_nothing():
    page = page_of(
        [row(HOSTILE, licence=HOSTILE)], title=HOSTILE, failed={HOSTILE: HOSTILE}, next=HOSTILE
    )
    assert page.text.count(HOSTILE) >= 6
    assert all(value.startswith("#") for value in page.values("src", "href"))
    assert not [
        name for _, attrs in page.tags for name in attrs if name == "style" or name.startswith("on")
    ]


def test_uneven_classes_show_the_balanced_accuracy():
    assert "Balanced accuracy" in page_of([row("a")], uneven=True).text
    assert "Balanced accuracy" not in page_of([row("a")]).text


def test_the_plot_holds_every_bar_and_a_larger_file_has_a_larger_dot():
    rows = [row("a", 0.8, 3, megabytes=5.0), row("b", 0.98, 40, megabytes=90.0), row("c", 0.2, 9)]
    plot = pareto_plot(rows)
    assert all(
        plot.up.end <= mark.high <= mark.dot.y <= mark.low <= plot.up.start for mark in plot.marks
    )
    assert [mark.dot.x for mark in plot.marks] == [plot.across.at(row.ms) for row in rows]
    assert plot.marks[0].dot.radius < plot.marks[1].dot.radius


def test_numbers_of_dots_at_one_place_do_not_hide_each_other():
    marks = pareto_plot([row("a"), row("b"), row("c")]).marks
    assert len({(mark.label_x, mark.label_y) for mark in marks}) == 3


def test_the_line_joins_the_front_only():
    rows = [row("a", 0.8, 3), row("b", 0.7, 5, on_front=False), row("c", 0.9, 9)]
    assert len(pareto_plot(rows).line.split()) == 2


def test_decoding_and_network_are_shown_apart():
    text = " ".join(page_of([row("a", ms=10)]).text.split())
    assert "decoding 3" in text
    assert "network 7 (7 to 7)" in text


def test_times_below_a_millisecond_still_have_an_axis():
    assert pareto_plot([row("a", ms=0.2), row("b", ms=0.9)]).across.ticks


def test_a_line_a_candidate_marks_the_one_to_take():
    first, second = candidate_lines(
        [row("a", chosen=True), row("longer", standing="measurably worse")]
    )
    assert first.startswith("* a       90.0 % (85.0 to 94.0, 100 images)  10 ms  10 MB  Apache-2.0")
    assert second.endswith("measurably worse")

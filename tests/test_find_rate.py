"""The learning-rate finder: it stops in time, suggests what is right for a known curve, and shows
it.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from helpers.pages import HOSTILE, Page
from tellapart.errors import UserError
from tellapart.jobs.find_rate import FoundRate, find_rate
from tellapart.pipeline import rate_test
from tellapart.report.find_rate.page import rate_chart, rate_lines, render_rates
from tellapart.training.rate_finder import range_test


def fall(rate: float) -> float:
    """A loss that falls fastest at 1e-3 and diverges from 1 on."""
    return 2.3 / (1 + rate / 1e-3) + rate**4


def test_rates_rise_by_the_same_multiple_from_the_lowest_on():
    seen: list[float] = []
    range_test(lambda rate: seen.append(rate) or 1.0, low=1e-4, high=1.0, count=5)
    assert seen == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1.0])


def test_the_suggestion_is_where_the_loss_falls_fastest():
    assert 5e-4 < range_test(fall).suggestion < 2e-3


@pytest.mark.parametrize("seed", range(5))
def test_noise_moves_the_suggestion_by_less_than_a_decade(seed: int):
    noise = np.random.default_rng(seed)
    curve = range_test(lambda rate: fall(rate) + noise.normal(0, 0.1))
    assert 1e-4 < curve.suggestion < 1e-2


def test_a_diverging_loss_stops_it():
    curve = range_test(fall)
    assert 0.1 < curve.rates[-1] < 2
    assert len(curve.rates) == len(curve.losses) == len(curve.smoothed) < 100


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_it_and_is_left_out(bad: float):
    curve = range_test(lambda rate: bad if rate > 0.1 else fall(rate))
    assert curve.rates[-1] <= 0.1
    assert np.isfinite(curve.smoothed).all()
    assert 5e-4 < curve.suggestion < 2e-3


def test_a_huge_last_loss_does_not_reach_back():
    plain, spiked = (
        range_test(lambda rate, top=top: top if rate > 0.5 else fall(rate)) for top in (2.3, 1e9)
    )
    assert spiked.suggestion == pytest.approx(plain.suggestion)


def test_where_the_loss_only_rises_there_is_no_suggestion():
    assert range_test(lambda rate: 1 + rate).suggestion is None


@pytest.mark.parametrize("arguments", [{"low": 0.0}, {"low": 1.0, "high": 1.0}, {"count": 1}])
def test_a_range_without_rates_is_our_mistake(arguments: dict[str, float]):
    with pytest.raises(ValueError, match="no range"):
        range_test(fall, **arguments)


def test_the_chart_marks_the_suggestion_on_a_logarithmic_axis():
    chart = rate_chart([1e-4, 1e-2, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0], 1e-2)
    assert chart.dots[0].x == (chart.across.start + chart.across.end) / 2
    assert [tick.text for tick in chart.across.ticks] == ["1e-4", "0.001", "0.01", "0.1", "1"]
    assert [line.name for line in chart.lines] == ["each batch", "smoothed"]


def test_the_page_says_the_suggestion_and_loads_nothing():
    curve = range_test(fall)
    points = (curve.rates.tolist(), curve.losses.tolist(), curve.smoothed.tolist())
    page = Page(render_rates(HOSTILE, "1 May 2025", *points, curve.suggestion, {"recipe": HOSTILE}))
    assert f"Start with a learning rate of {curve.suggestion:.2g}" in page.text
    assert all(value.startswith("#") for value in page.values("src", "href"))
    assert not [
        name for _, attrs in page.tags for name in attrs if name == "style" or name.startswith("on")
    ]


def test_without_a_fall_the_words_say_so():
    assert rate_lines([1e-7, 10.0], None)[0] == "The loss did not fall at any rate."


@pytest.fixture
def found(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FoundRate:
    """A search over a made-up loss, on real images."""
    monkeypatch.setattr(rate_test, "training_step", lambda *_: fall)
    return find_rate(photos, out=tmp_path / "rates.html", quiet=True)


def test_find_rate_writes_its_page(found: FoundRate):
    assert "Loss over learning rate" in found.page.read_text("utf-8")
    assert found.lines[0].startswith("Start with a learning rate of 0.00")
    assert found.as_json()["suggestion"] == found.suggestion == found.curve.suggestion


def test_a_recipe_without_a_rate_is_refused(photos: Path):
    with pytest.raises(UserError, match="'probe' has no learning rate"):
        find_rate(photos, recipe="probe", quiet=True)


def test_a_loss_that_is_never_finite_is_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rate_test, "training_step", lambda *_: lambda _: math.nan)
    with pytest.raises(UserError, match="not finite, even at the lowest rate"):
        find_rate(photos, out=tmp_path / "rates.html", quiet=True)
    assert not (tmp_path / "rates.html").exists()

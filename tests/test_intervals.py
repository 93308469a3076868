import numpy as np
import pytest

from tellapart.evaluation.intervals import (
    BIAS_REACH,
    RESAMPLES,
    bootstrap,
    percentile_interval,
    wilson,
)


def shares(values):
    """The mean of the resampled values, as a statistic of one column."""
    return lambda rows, weights: (values[rows] @ weights / weights.sum())[:, None]


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # these four: Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
    ],
)
def test_wilson_gives_the_published_intervals(successes, count, low, high):
    assert wilson(successes, count) == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_nothing_knows_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


def test_wilson_holds_shares_of_exactly_0_and_1():
    assert [wilson(0, n)[0] for n in range(1, 300)] == [0.0] * 299
    assert [wilson(n, n)[1] for n in range(1, 300)] == [1.0] * 299


def test_wilson_is_narrower_with_more_images_and_wider_with_more_confidence():
    low, high = wilson(90, 100)
    assert low < wilson(900, 1000)[0] < wilson(900, 1000)[1] < high
    assert wilson(90, 100, confidence=0.99)[0] < low < high < wilson(90, 100, confidence=0.99)[1]


def test_wilson_refuses_more_successes_than_images():
    with pytest.raises(ValueError, match=r"successes must be in \[0, 3\], got 4"):
        wilson(4, 3)


def test_wilson_holds_the_true_share_about_19_times_in_20():
    bounds = np.array([wilson(k, 50) for k in range(51)])[
        np.random.default_rng(0).binomial(50, 0.9, 4000)
    ]
    assert np.mean((bounds[:, 0] <= 0.9) & (bounds[:, 1] >= 0.9)) == pytest.approx(0.95, abs=0.025)


def test_the_same_seed_gives_the_same_resamples():
    values, labels = np.arange(30.0), np.repeat([0, 1, 2], 10)
    first, again, other = (bootstrap(shares(values), labels, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_resample_keeps_the_weight_of_every_class():
    labels = np.repeat([0, 1, 2], [2, 5, 40])
    resampled = bootstrap(
        lambda rows, weights: weights @ (labels[rows][:, :, None] == [0, 1, 2]), labels
    )
    assert resampled == pytest.approx(np.tile([2.0, 5.0, 40.0], (RESAMPLES, 1)))


def test_numbering_the_classes_differently_draws_the_same_images():
    values, labels = (
        np.random.default_rng(0).random(60),
        np.random.default_rng(1).integers(0, 4, 60),
    )
    renumbered = np.array([2, 0, 3, 1])[labels]
    assert np.array_equal(bootstrap(shares(values), labels), bootstrap(shares(values), renumbered))


def test_the_memory_held_at_once_changes_no_draw(monkeypatch):
    values, labels = np.arange(20.0), np.repeat([0, 1], 10)
    whole = bootstrap(shares(values), labels)
    monkeypatch.setattr("tellapart.evaluation.intervals.CHUNK_DRAWS", 100)
    assert bootstrap(shares(values), labels) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("size", [1, 2, 20])
def test_the_resamples_vary_as_much_as_new_images_would_however_small_the_classes(size):
    rng = np.random.default_rng(0)
    spread = [
        bootstrap(shares(rng.normal(size=200)), np.arange(200) // size, seed=s).std()
        for s in range(20)
    ]
    assert np.mean(spread) == pytest.approx(1 / np.sqrt(200), rel=0.05)


def test_a_bootstrap_needs_two_images():
    with pytest.raises(ValueError, match="at least 2 images, got 1"):
        bootstrap(shares(np.ones(1)), np.zeros(1, np.int64))


def test_the_interval_of_an_unbiased_value_is_the_percentiles():
    resampled = np.random.default_rng(0).normal(5, 1, 100_000)
    assert percentile_interval(5.0, resampled) == pytest.approx((5 - 1.96, 5 + 1.96), abs=0.03)


def test_the_interval_reaches_back_as_far_as_the_noise_may_have_moved_the_value():
    resampled = np.random.default_rng(0).normal(7, 1, 100_000)
    assert percentile_interval(5.0, resampled) == pytest.approx(
        (5 - 1.96 - 2 * BIAS_REACH, 5 + 1.96), abs=0.05
    )


def test_the_interval_of_a_distance_from_0_holds_0():
    # As with the calibration error of a perfect model: the value is |noise|, a resample |noise and
    # noise again|.
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(200, 40))
    values = np.abs(noise).mean(axis=1)
    resampled = np.abs(noise[:, None] + rng.normal(size=(200, 400, 40))).mean(axis=2)
    lows = [
        percentile_interval(value, drawn)[0] for value, drawn in zip(values, resampled, strict=True)
    ]
    assert np.mean(np.array(lows) <= 0) > 0.85

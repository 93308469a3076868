import numpy as np
import pytest

from helpers.clusters import answers, bounds, groups
from tellapart.evaluation.abstention import selective
from tellapart.evaluation.clusters import design_effect, effective_count
from tellapart.evaluation.intervals import bootstrap, wilson
from tellapart.evaluation.metrics import Score, measure, proportion, share
from tellapart.evaluation.rule import AnswerRule

# The design effect


def test_images_of_their_own_are_worth_what_they_are():
    assert effective_count(np.array([True, False, True]), np.array([7, 3, 5])) == 3


@pytest.mark.parametrize("copies", [2, 5, 12])
def test_copies_are_worth_one_image(copies):
    right = np.random.default_rng(0).random(40) < 0.8
    clusters = np.repeat(np.arange(40), copies)
    assert effective_count(np.repeat(right, copies), clusters) == pytest.approx(40)


def test_answers_that_all_agree_are_worth_their_clusters():
    assert effective_count(np.ones(12, bool), np.arange(12) // 3) == pytest.approx(4)


def test_unequal_clusters_that_all_agree_are_worth_less_than_there_are():
    sizes = np.array([10, 1, 1])
    worth = effective_count(np.ones(12, bool), np.repeat(np.arange(3), sizes))
    assert worth == pytest.approx(12**2 / (sizes**2).sum())


def test_one_cluster_is_worth_one_image():
    assert effective_count(np.array([True, False, True]), np.zeros(3, int)) == 1


def test_no_images_are_worth_nothing():
    assert effective_count(np.zeros(0, bool), np.zeros(0, int)) == 0


def test_groups_of_unlike_images_are_worth_nearly_all_of_them():
    assert 1 <= design_effect(*groups([5] * 400, 0.8, likeness=0)) < 1.2


def test_the_more_alike_the_images_of_a_group_the_less_they_are_worth():
    worth = [effective_count(*groups([5] * 400, 0.8, rho)) for rho in (0, 0.5, 0.9, 1)]
    assert worth == sorted(worth, reverse=True)
    assert worth[-1] == pytest.approx(400)


# Shares


def test_a_share_without_clusters_is_a_proportion():
    right = np.arange(40) % 4 > 0
    assert share(right, np.arange(40)) == proportion(30, 40)


def test_a_share_in_groups_has_wilsons_interval_at_the_effective_number():
    right, clusters = groups([5] * 60, 0.8, likeness=0.5)
    effective = effective_count(right, clusters)
    assert bounds(share(right, clusters)) == wilson(right.mean() * effective, effective)


def test_a_share_says_how_many_groups_its_images_are():
    text = str(share(*groups([5] * 60, 0.8, likeness=0.5)))
    assert text.endswith(", 300 images, 60 groups)")


def test_a_share_of_no_images_is_unknown():
    assert bounds(share(np.zeros(0, bool), np.zeros(0, int))) == (0, 1)


def test_the_interval_of_a_share_holds_the_truth_about_19_times_in_20():
    scores = [share(*groups([5] * 60, 0.8, 0.5, seed)) for seed in range(600)]
    held = [score.low <= 0.8 <= score.high for score in scores]
    assert np.mean(held) == pytest.approx(0.95, abs=0.025)


def test_the_interval_holds_it_where_groups_are_unequal_too():
    sizes = [20] * 10 + [5] * 20 + [1] * 50
    scores = [share(*groups(sizes, 0.8, 0.9, seed)) for seed in range(600)]
    assert np.mean([score.low <= 0.8 <= score.high for score in scores]) > 0.93


# Everything that is measured


def test_five_copies_of_every_image_have_the_intervals_of_one():
    ones, fives = (measure(answers(copies=copies), baseline_label=0) for copies in (1, 5))
    names = [name for name, score in vars(ones).items() if isinstance(score, Score)]
    expected = np.array([bounds(getattr(ones, name)) for name in names])
    assert np.array([bounds(getattr(fives, name)) for name in names]) == pytest.approx(expected)


def test_five_copies_of_every_image_have_the_class_scores_of_one():
    ones, fives = (measure(answers(copies=copies)).per_class for copies in (1, 5))
    assert [bounds(scores.precision) for scores in fives] == [
        pytest.approx(bounds(scores.precision)) for scores in ones
    ]
    assert [scores.trusted for scores in fives] == [scores.trusted for scores in ones]


def test_every_score_counts_images_and_groups():
    metrics = measure(answers(copies=5))
    scores = [score for score in vars(metrics).values() if isinstance(score, Score)]
    assert {(score.count, score.clusters) for score in scores} == {(300, 60)}
    assert metrics.as_json()["log_loss"]["clusters"] == 60


def test_five_copies_are_no_reason_to_trust_a_class():
    assert not measure(answers(count=60, copies=5)).per_class[0].trusted


def test_what_is_answered_counts_groups():
    result = selective(answers(copies=5), AnswerRule(0.6))
    assert result.coverage.clusters == 60
    assert result.accuracy_answered.clusters < 60


# The bootstrap


def mean_of(values):
    """The weighted mean of the values, as a statistic of one column."""

    def statistic(rows, weights):
        spread = np.broadcast_to(weights, rows.shape)
        return ((values[rows] * spread).sum(1) / spread.sum(1))[:, None]

    return statistic


def test_clusters_of_one_are_drawn_as_images_are():
    values, labels = np.arange(30.0), np.repeat([0, 1, 2], 10)
    plain = bootstrap(mean_of(values), labels)
    assert np.array_equal(plain, bootstrap(mean_of(values), labels, np.arange(30)))


def test_copies_are_drawn_together():
    values, labels = np.random.default_rng(0).random(30), np.repeat([0, 1, 2], 10)
    ones = bootstrap(mean_of(values), labels)
    rows = np.repeat(np.arange(30), 4)
    assert bootstrap(mean_of(values[rows]), labels[rows], rows) == pytest.approx(ones)


def test_the_numbers_of_the_clusters_do_not_matter():
    values, labels = np.random.default_rng(0).random(30), np.repeat([0, 1, 2], 10)
    clusters = np.arange(30) // 3
    renumbered = np.random.default_rng(1).permutation(10)[clusters]
    drawn = (bootstrap(mean_of(values), labels, numbers) for numbers in (clusters, renumbered))
    assert np.array_equal(*drawn)


def test_a_cluster_is_drawn_whole():
    clusters = np.arange(30) // 3
    drawn = bootstrap(lambda rows, weights: weights, np.repeat([0, 1], 15), clusters)
    assert (drawn == drawn[:, np.repeat(np.arange(0, 30, 3), 3)]).all()


def test_a_cluster_of_several_classes_is_drawn_within_its_largest():
    labels = np.array([0, 0, 1, 0, 0, 0, 1, 1, 1, 1])
    clusters = np.array([0, 0, 0, 1, 1, 1, 2, 2, 3, 3])
    drawn = bootstrap(lambda rows, weights: weights, labels, clusters)
    assert set(drawn[:, :6].sum(axis=1)) == {6}


def test_a_bootstrap_of_one_cluster_is_refused():
    with pytest.raises(ValueError, match="needs at least 2 images, got 1"):
        bootstrap(mean_of(np.ones(3)), np.zeros(3, int), np.zeros(3, int))


def test_the_bootstrap_of_one_group_has_no_interval():
    predictions = answers(count=1, num_classes=3, copies=5)
    assert np.isnan(measure(predictions).log_loss.low)

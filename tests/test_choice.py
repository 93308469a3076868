"""Probe or fine-tuned network: the worse one is seldom shipped, the clearly better one mostly is."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.networks import drawn_networks
from tellapart.evaluation.choice import choose_network, margin_of
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.scores import accuracy

PROBE, WORSE, BETTER = 3.6, 3.3, 4.3  # how sharp: right on 85 %, 83 % and 89 % of endless images
VAL = 150


def shipped_of_100(sharpness: float, *, epochs: int = 1) -> int:
    """How often a network is shipped that is the best of some epochs by accuracy on val."""
    rng = np.random.default_rng(0)
    drawn = [drawn_networks(rng, VAL, [PROBE] + [sharpness] * epochs) for _ in range(100)]
    choices = [
        choose_network([networks[0], max(networks[1:], key=accuracy)], looks=epochs)
        for networks in drawn
    ]
    return sum(choice.place > 0 for choice in choices)


def copied(networks: list[Predictions], times: int) -> list[Predictions]:
    """The networks' answers to copies of the images, which count once."""
    return [
        Predictions(
            np.tile(network.probs, (times, 1)),
            np.tile(network.labels, times),
            tuple(f"{path}-{number}" for number in range(times) for path in network.paths),
            network.classes,
            clusters=np.tile(network.clusters, times),
        )
        for network in networks
    ]


def test_an_equal_network_is_seldom_shipped():
    assert shipped_of_100(PROBE) <= 22


def test_the_best_of_eight_equal_epochs_is_seldom_shipped():
    assert shipped_of_100(PROBE, epochs=8) <= 22


def test_a_worse_network_is_hardly_ever_shipped():
    assert shipped_of_100(WORSE) <= 10
    assert shipped_of_100(WORSE, epochs=8) <= 10


def test_a_better_network_is_mostly_shipped():
    assert shipped_of_100(BETTER) >= 60
    assert shipped_of_100(BETTER, epochs=8) >= 60


def test_in_a_tie_the_first_is_shipped():
    (probe,) = drawn_networks(np.random.default_rng(0), VAL, [PROBE])
    choice = choose_network([probe, probe])
    assert (choice.place, choice.errors, choice.accuracy, choice.loss) == (0, 0, 0, 0)


def test_a_network_that_is_only_surer_of_the_same_answers_ties():
    (probe,) = drawn_networks(np.random.default_rng(0), VAL, [PROBE])
    squared = probe.probs**2
    surer = Predictions(
        squared / squared.sum(axis=1, keepdims=True), probe.labels, probe.paths, probe.classes
    )
    choice = choose_network([probe, surer])
    assert choice.place == 0
    assert choice.loss == pytest.approx(0, abs=0.01)


def test_copies_of_the_images_decide_nothing():
    networks = drawn_networks(np.random.default_rng(1), VAL, [PROBE, BETTER])
    once, five = choose_network(networks), choose_network(copied(networks, 5))
    assert five.clusters == once.clusters == VAL
    assert five.errors == pytest.approx(once.errors, rel=0.1)


def test_the_order_of_the_images_decides_nothing():
    networks = drawn_networks(np.random.default_rng(1), VAL, [PROBE, BETTER])
    turned = [network.rows(np.arange(VAL)[::-1]) for network in networks]
    assert choose_network(turned).errors == pytest.approx(choose_network(networks).errors)


def test_of_several_networks_the_best_is_the_candidate():
    networks = drawn_networks(np.random.default_rng(2), 600, [PROBE, WORSE, BETTER, WORSE])
    choice = choose_network(networks)
    assert (choice.place, choice.best) == (2, 2)


def test_too_few_images_decide_nothing():
    networks = drawn_networks(np.random.default_rng(2), 4, [0.1, 50.0])
    assert choose_network(networks).place == 0


def test_more_looks_ask_for_more():
    assert margin_of(1) == pytest.approx(1, abs=0.01)
    assert margin_of(1) < margin_of(4) < margin_of(8) < 2

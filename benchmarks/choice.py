"""How often is the worse of probe and fine-tuned network shipped, and how often the better one?

    python benchmarks/choice.py [--repeats 1000] [--out benchmarks/results/choice.json]

Networks are drawn whose true accuracies are known: a probe, and the networks of all epochs of a
training. They share the difficulty of the images and differ in noise of their own. The network that
is held against the probe is the last one, or the best of all epochs by val. Beside the choice stands
the plain comparison of accuracies on val, ties by log loss, which allows for nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from recording import about

from tellapart.evaluation.choice import choose_network
from tellapart.evaluation.intervals import wilson
from tellapart.evaluation.predictions import Predictions
from tellapart.evaluation.scores import accuracy, loss

EPOCHS = 8
CLASSES = 4
SHARPNESS = 3.6  # the probe's, which is right on six images of seven
OWN_NOISE = (
    0.4  # the share of a logit's noise that is a network's own: they differ on one image of eight
)
VALS = (60, 150, 300)
GAINS = {"2 points worse": -0.02, "1 point worse": -0.01, "equal": 0.0, "3 points better": 0.03}


def draw(
    rng: np.random.Generator, count: int, sharpness: Sequence[float], own: float = OWN_NOISE
) -> list[Predictions]:
    """The answers of several networks to the same images.

    Args:
        rng: draws them.
        count: how many images there are.
        sharpness: of each network, how far it tells the label from the other classes.
        own: the share of the noise's variance that each network has by itself.
    """
    labels = np.arange(count) % CLASSES
    ease = rng.gamma(2.0, 0.5, count)
    shared = rng.normal(size=(count, CLASSES))
    paths = tuple(f"{number:07}.jpg" for number in range(count))
    networks = []
    for strength in sharpness:
        noise = rng.normal(size=(count, CLASSES))
        logits = np.sqrt(1 - own) * shared + np.sqrt(own) * noise
        logits[np.arange(count), labels] += strength * ease
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probs = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        networks.append(Predictions(probs, labels, paths, tuple("abcd")))
    return networks


def sharpness_for(gain: float) -> float:
    """The sharpness of a network that is better than the probe by `gain` on endless images."""

    def right(strength: float) -> float:
        (network,) = draw(np.random.default_rng(0), 400_000, [strength])
        return accuracy(network)

    wanted, low, high = right(SHARPNESS) + gain, 1.0, 12.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if right(middle) < wanted else (low, middle)
    return (low + high) / 2


def shipped(rng: np.random.Generator, val: int, strength: float, seed: int) -> dict[str, bool]:
    """Whether the fine-tuned network is shipped in place of the probe, by each way to choose."""
    probe, *epochs = draw(rng, val, [SHARPNESS] + [strength] * EPOCHS)
    best = max(epochs, key=accuracy)
    plain = (accuracy(best), -loss(best)) > (accuracy(probe), -loss(probe))
    last = choose_network([probe, epochs[-1]], seed=seed)
    chosen = choose_network([probe, best], looks=EPOCHS, seed=seed)
    return {
        "plain comparison of the best epoch": plain,
        "the last epoch": last.place > 0,
        "the best epoch": chosen.place > 0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1_000, help="of each kind and size of val")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print("| truly | val | plain, best epoch | last epoch | best epoch |\n|---|---|---|---|---|")
    for name, gain in GAINS.items():
        strength = sharpness_for(gain)
        for val in VALS:
            rng = np.random.default_rng(val)
            trials = [shipped(rng, val, strength, seed) for seed in range(options.repeats)]
            counts = {way: sum(trial[way] for trial in trials) for way in trials[0]}
            shares = {way: (count, *wilson(count, len(trials))) for way, count in counts.items()}
            rows.append({"truly": name, "val": val, "shipped": shares})
            percents = [f"{100 * count / len(trials):.1f} %" for count in counts.values()]
            print("| " + " | ".join([name, str(val), *percents]) + " |", flush=True)
    if options.out:
        result = {**about([]), "repeats": options.repeats, "epochs": EPOCHS, "rows": rows}
        options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

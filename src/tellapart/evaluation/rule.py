"""How probabilities become an answer, or none: weights, a threshold, or a table of costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import UserError, choose

DECISIONS = ("answered", "unsure", "unfamiliar")
KINDS = ("wrong", "unanswered")


@dataclass(frozen=True)
class Costs:
    """What a mistake costs, in any unit.

    Args:
        wrong: (C,) the cost of a wrong answer to an image of each class.
        unanswered: (C,) the cost of giving no answer to it.
    """

    wrong: tuple[float, ...]
    unanswered: tuple[float, ...]


@dataclass(frozen=True)
class AnswerRule:
    """What is answered, and when.

    Args:
        threshold: an answer with a lower confidence is "unsure". None means no threshold.
        weights: (C,) the answer is the class with the highest probability times weight. Empty means
            that the most probable class is.
        costs: an image is answered where that costs less than giving no answer. None means that the
            threshold decides.

    >>> AnswerRule(weights=(1.0, 3.0)).answers(np.array([[0.7, 0.3], [0.8, 0.2]])).tolist()
    [1, 0]
    """

    threshold: float | None = None
    weights: tuple[float, ...] = ()
    costs: Costs | None = None

    def answers(self, probs: NDArray[np.floating]) -> NDArray[np.int64]:
        """(N,) the answer to each image, by its probabilities (N, C). Of equals it is the first."""
        if not probs.size:
            return np.zeros(len(probs), np.int64)
        weighted = probs * np.asarray(self.weights, np.float32) if self.weights else probs
        return np.asarray(weighted.argmax(axis=1))

    def decide(
        self, probs: NDArray[np.floating], unfamiliarity: NDArray[np.floating] | None
    ) -> NDArray[np.str_]:
        """Decide for each image whether it is answered. NaN never leads to an answer.

        Args:
            probs: (N, C) probabilities; rows sum to 1.
            unfamiliarity: (N,). An image above 1 is "unfamiliar", however sure the model is. None
                means that it was not measured.

        Returns:
            (N,) str, each one of DECISIONS.

        Source of the rule by costs: Chow 1970, https://doi.org/10.1109/TIT.1970.1054406.

        >>> probs = np.array([[0.9, 0.1], [0.6, 0.4], [1.0, 0.0]])
        >>> AnswerRule(0.8).decide(probs, np.array([0.5, 0.5, 1.5])).tolist()
        ['answered', 'unsure', 'unfamiliar']
        >>> AnswerRule(costs=Costs((4, 4), (1, 1))).decide(probs, None).tolist()
        ['answered', 'unsure', 'answered']
        """
        none = np.zeros(len(probs), bool)
        unsure = none
        answers = self.answers(probs)
        of_answer = (
            np.take_along_axis(probs, answers[:, None], axis=1)[:, 0] if len(probs) else none
        )
        if self.costs is not None:
            wrong, unanswered = np.array(self.costs.wrong), np.array(self.costs.unanswered)
            cost = probs @ wrong - of_answer * wrong[answers]
            unsure = ~(cost <= probs @ unanswered)
        elif self.threshold is not None:
            unsure = ~(of_answer >= self.threshold)
        unfamiliar = none if unfamiliarity is None else ~(unfamiliarity <= 1)
        return np.select([unfamiliar, unsure], ["unfamiliar", "unsure"], "answered")

    def as_json(self) -> dict[str, Any]:
        """Plain values, which `from_json` reads."""
        costs = None if self.costs is None else {kind: getattr(self.costs, kind) for kind in KINDS}
        return {"threshold": self.threshold, "weights": self.weights, "costs": costs}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> AnswerRule:
        """The rule whose `as_json` gave these values.

        Raises:
            KeyError, TypeError, ValueError: they are not those of a rule.
        """
        threshold, costs = values["threshold"], values["costs"]
        return cls(
            None if threshold is None else float(threshold),
            tuple(map(float, values["weights"])),
            None if costs is None else Costs(*(tuple(map(float, costs[kind])) for kind in KINDS)),
        )


def read_costs(entries: Sequence[str], classes: Sequence[str]) -> Costs | None:
    """The table of costs that `answer.costs` spells.

    Args:
        entries: "wrong=10" and "unanswered=1" for all classes; "wrong:NAME=100" for one class.
            Empty means that there are no costs.
        classes: C class names.

    Raises:
        UserError: an entry has another form, a class is unknown, or a cost is missing or below 0.

    >>> read_costs(["wrong=10", "wrong:dog=50", "unanswered=1"], ["cat", "dog"])
    Costs(wrong=(10.0, 50.0), unanswered=(1.0, 1.0))
    """
    if not entries:
        return None
    table: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
    for entry in entries:
        key, found, number = entry.rpartition("=")
        kind, _, name = key.partition(":")
        try:
            cost = float(number)
        except ValueError:
            cost = -1.0
        if not found or kind not in KINDS or not 0 <= cost < float("inf"):
            raise UserError(
                f"answer.costs cannot hold {entry!r}.",
                'Write the costs as "wrong=10,unanswered=1", and those of a class as'
                ' "wrong:NAME=100".',
            )
        if name:
            choose("class in answer.costs:", name, classes)
        table[kind][name] = cost
    for kind in KINDS:
        missing = [name for name in classes if name not in table[kind] and "" not in table[kind]]
        if missing:
            raise UserError(
                f"answer.costs does not say what an image of class {missing[0]!r} costs if it is"
                f" {'answered wrongly' if kind == 'wrong' else 'not answered'}.",
                f"Add {kind}=NUMBER for all classes.",
            )
    wrong, unanswered = (
        tuple(table[kind].get(name, table[kind].get("", 0.0)) for name in classes) for kind in KINDS
    )
    return Costs(wrong, unanswered)

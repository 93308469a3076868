"""`predict`: a model file and images in, one answer an image out. Needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tellapart.errors import UserError
from tellapart.modelfile.answers import write_answers
from tellapart.modelfile.predictor import Answer, Predictor, load
from tellapart.progress import Console
from tellapart.tables import check_table_name


def predict_files(
    model: Path, files: Sequence[Path], *, out: Path | None = None, console: Console
) -> tuple[Predictor, list[Answer]]:
    """The predictor and its answers, one a file, in order; written whole to `out` if that is given.

    Raises:
        UserError: no model, no files, or a table of a kind that cannot be written.
    """
    if out:
        check_table_name(out)
    if not files:
        raise UserError(
            "There is nothing to predict.", "Name images, folders or patterns, or - for a list."
        )
    predictor = load(model)
    answers = []
    with console.track("Predicting", len(files)) as advance:
        for answer in predictor.predict_each(files):
            answers.append(answer)
            advance()
    if out:
        write_answers(out, answers, predictor.classes)
    return predictor, answers


def count_statuses(answers: Sequence[Answer]) -> dict[str, int]:
    """Status → number of answers, sorted by name."""
    return dict(sorted(Counter(answer.status for answer in answers).items()))

"""The model card: the report in Markdown, under the headings that the field uses.

Source of the headings: Mitchell et al. 2019, https://arxiv.org/abs/1810.03993, and the template of
Hugging Face, https://huggingface.co/docs/hub/model-card-annotated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tellapart.evaluation.abstention import selective
from tellapart.evaluation.metrics import Metrics, Score
from tellapart.phrases import count_of
from tellapart.report.parts import data_section, wording
from tellapart.report.run import verdict
from tellapart.report.run.input import ReportInput
from tellapart.report.run.usage import snippets

MOST_CLASSES = 50  # in a list or a table; the report has all
_SCORES = ("accuracy", "balanced_accuracy", "macro_f1")
_LOSSES = ("log_loss", "brier", "ece")


def model_card(report: ReportInput) -> str:
    """The card as Markdown with a header in YAML, which model hubs read.

    Args:
        report: what the run found out.
    """
    blocks = [
        _header(report),
        f"# Model card of {plain(report.title)}",
        plain(verdict.sentence(report)),
        *_details(report),
        *_uses(report),
        *_limits(report),
        *_start(report),
        *_training(report),
        *_evaluation(report),
        *_calibration(report),
        *_thresholds(report),
        *_licence(report),
        *_provenance(report),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def plain(text: str) -> str:
    r"""Text that Markdown shows as it is, on one line.

    >>> print(plain("a_b <c> | #1"))
    a\_b \<c\> \| \#1
    """
    return re.sub(r"([\\`*_{}\[\]<>#|!$~])", r"\\\1", wording.visible(text))


def _header(report: ReportInput) -> str:
    values: dict[str, object] = {
        "license": report.licence.lower() or "unknown",
        "library_name": "tellapart",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "onnx"],
        "metrics": ["accuracy", "f1"],
    }
    if report.measured is not None:
        values["model-index"] = [_index(report.title, report.measured)]
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(["---", *(wording.visible(line) for line in lines), "---"])


def _index(title: str, metrics: Metrics) -> dict[str, object]:
    results = [{"type": name, "value": round(getattr(metrics, name).value, 6)} for name in _SCORES]
    return {
        "name": title,
        "results": [
            {
                "task": {"type": "image-classification"},
                "dataset": {"name": title, "type": "imagefolder", "split": "test"},
                "metrics": results,
            }
        ],
    }


def _details(report: ReportInput) -> Iterator[str]:
    classes = report.catalog.classes
    yield "## Model details"
    yield (
        f"An image classifier that tells {count_of(len(classes), 'class', 'classes')} apart:"
        f" {_names(classes)}. It was trained by tellapart and finished on {plain(report.created)}."
    )
    yield _facts(report.model)


def _uses(report: ReportInput) -> Iterator[str]:
    yield "## Intended use"
    yield (
        "The model gives one of its classes, with a probability, to images of the kinds that it was"
        " trained on. The training does not know what the answers are used for. Who publishes the"
        " model says here who uses it, and for what."
    )
    yield "### Out-of-scope use"
    lines = [
        "Images of classes that the model was never shown: it knows only the classes above.",
        "Images of another kind, for example of another camera, place or season.",
        "Decisions about people without a person who looks at them.",
    ]
    if report.left_out is not None:
        lines[0] += f" {wording.left_out_line(report.left_out)}"
    yield _list(lines)


def _limits(report: ReportInput) -> Iterator[str]:
    yield "## Limits, risks and recommendations"
    warnings = verdict.caveats(report)
    yield _list(warnings) if warnings else plain(verdict.all_clear(report))
    if report.slices is not None:
        yield _list(report.slices.lines)
    if report.stress is not None:
        yield _list(report.stress.lines)
    else:
        yield (
            "How the answers change in darker, blurred or otherwise worse images was not measured."
        )
    if report.audit is not None:
        yield _list(report.audit.lines)
    else:
        yield "The labels were not audited."


def _start(report: ReportInput) -> Iterator[str]:
    if report.model_file:
        yield "## How to get started"
        (_, command), (_, code), _ = snippets(report.model_file)
        yield f"```sh\n{command}\n```"
        yield f"```python\n{code}\n```"


def _training(report: ReportInput) -> Iterator[str]:
    catalog = report.catalog
    yield "## Training data"
    counts = data_section.split_counts(catalog)
    sizes = ", ".join(f"{count:,} {split or 'in no split'}" for split, count in counts.items())
    source = f"{plain(catalog.source)}. " if catalog.source else ""
    yield f"{source}{count_of(len(catalog), 'file')}; usable images by split: {sizes}."
    rows = data_section.balance_rows(catalog)
    yield _table(
        ("Class", "Train", "Val", "Test"),
        [(row.name, *(f"{count:,}" for count in row.counts)) for row in rows[:MOST_CLASSES]],
    )
    yield _rest(len(rows))
    yield plain(data_section.size_line(catalog))
    yield _list(finding.text for finding in report.findings)
    if report.learning is not None:
        yield plain(report.learning.line)
    yield "## Training procedure"
    yield _facts(report.provenance.get("Recipe", {}))


def _evaluation(report: ReportInput) -> Iterator[str]:
    yield "## Evaluation"
    metrics = report.measured
    if metrics is None:
        yield "No image was held out as a test split, so there is no score."
        return
    yield (
        "The test images were measured once, by the model file. Copies and the images of a group"
        " count once. The intervals are at 95 %."
    )
    yield "### Metrics"
    scores = [*_SCORES, *(["top5_accuracy"] if metrics.top5_accuracy is not None else [])]
    rows = [_score_row(name, getattr(metrics, name)) for name in scores]
    rows += [_loss_row(name, getattr(metrics, name)) for name in _LOSSES]
    yield _table(("Metric", "Value", "95 % interval", "Meaning"), rows)
    if always := wording.baseline_line(metrics, verdict.majority(report)):
        yield plain(f"{always[:1].upper()}{always[1:]}.")
    yield "### By class"
    yield _table(
        ("Class", "Images", "Recall", "95 % interval", "Precision", "95 % interval"),
        [
            (
                scores_of_class.name,
                f"{scores_of_class.count:,}",
                wording.percent(scores_of_class.recall.value),
                wording.interval(scores_of_class.recall),
                wording.percent(scores_of_class.precision.value),
                wording.interval(scores_of_class.precision),
            )
            for scores_of_class in metrics.per_class[:MOST_CLASSES]
        ],
    )
    yield _rest(len(metrics.per_class))


def _calibration(report: ReportInput) -> Iterator[str]:
    yield "## Calibration"
    yield plain(
        wording.calibration_line(report.val_predictions, report.out_of_fold, report.temperature)
    )
    if report.check is not None:
        yield plain(wording.calibration_check_line(report.check))


def _thresholds(report: ReportInput) -> Iterator[str]:
    yield "## Thresholds and decisions"
    shown, threshold = report.shown, report.threshold
    if threshold is not None:
        yield plain(
            f"An answer with a confidence below {wording.percent(threshold.confidence)} is"
            f" “unsure”. {wording.promise_line(threshold)}"
        )
    elif report.rule.costs is not None:
        yield "The model answers where that costs less than giving no answer."
    else:
        yield "No threshold was chosen, so the model never says “unsure”."
    if report.familiar_shares is not None:
        yield plain(wording.familiar_line(*report.familiar_shares))
    if shown is not None:
        answering = selective(shown, report.rule)
        right = wording.percent(answering.accuracy_answered.value)
        yield plain(
            f"Of the images that the report shows, {wording.percent(answering.coverage.value)}"
            f" ({wording.interval(answering.coverage)}) are answered, and {right}"
            f" ({wording.interval(answering.accuracy_answered)}) of these answers are correct."
        )


def _licence(report: ReportInput) -> Iterator[str]:
    yield "## Licence"
    if not report.licence:
        yield "No licence of the weights is known."
    else:
        yield (
            f"The weights that the training began with are under {plain(report.licence)}. The"
            " owner of the data and of the model says under what licence the whole is."
        )


def _provenance(report: ReportInput) -> Iterator[str]:
    yield "## Technical specifications"
    for name, pairs in report.provenance.items():
        if name != "Recipe":
            yield f"### {plain(name)}"
            yield _facts(pairs)


def _score_row(name: str, score: Score) -> tuple[str, ...]:
    value, bounds = wording.percent(score.value), wording.interval(score)
    return wording.metric_title(name), value, bounds, wording.METRICS[name][1]


def _loss_row(name: str, score: Score) -> tuple[str, ...]:
    bounds = f"{wording.decimal(score.low)} to {wording.decimal(score.high)}"
    return (
        wording.metric_title(name),
        wording.decimal(score.value),
        bounds,
        wording.METRICS[name][1],
    )


def _facts(pairs: Mapping[str, str | int | float]) -> str:
    return _list(f"{name}: {wording.number(value)}" for name, value in pairs.items())


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {plain(line)}" for line in lines)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(plain(name) for name in names[:MOST_CLASSES])
    left = len(names) - MOST_CLASSES
    return f"{shown} and {left:,} more" if left > 0 else shown


def _rest(count: int) -> str:
    left = count - MOST_CLASSES
    return f"{count_of(left, 'class is', 'classes are')} not in this table." if left > 0 else ""

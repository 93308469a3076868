"""facts.json: what a report says that stands in no other file of the run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tellapart.catalog.findings import Finding
from tellapart.catalog.table import Catalog
from tellapart.decoders.rules import DecodeRules
from tellapart.errors import Refused
from tellapart.runs.folder import RunFolder

FACTS = "facts.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class KeptFacts:
    """What only the training knew.

    Args:
        title: what the run is called, escaped.
        created: when it ended, as `wording.timestamp` words it.
        source: how the data was recognised, in a sentence.
        ignored: what was passed over without becoming an image: reason → count.
        unused: paths of images that left their split during the run.
        decoding: by which rules the images were decoded.
        findings: what there is to say about the data.
        model: facts about the model, name → value.
        licence: of the weights.
        rates: epochs done and the learning rate there.
        histories: of a cross-validation, the rows of each fold's history by the fold's name.
        experiment: of a cross-validation, its settings and scores, name → value.
    """

    title: str
    created: str
    source: str
    ignored: Mapping[str, int]
    unused: tuple[str, ...]
    decoding: DecodeRules
    findings: tuple[Finding, ...]
    model: Mapping[str, str]
    licence: str
    rates: tuple[tuple[float, float], ...] = ()
    histories: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    experiment: Mapping[str, str] = field(default_factory=dict)

    def write(self, run: RunFolder) -> None:
        """Write facts.json."""
        run.write_json(
            FACTS,
            {
                "format": FORMAT,
                **vars(self),
                "decoding": self.decoding.as_json(),
                "findings": [
                    {"kind": finding.kind, "text": finding.text, "sets": finding.sets}
                    for finding in self.findings
                ],
            },
        )


def read_facts(run: RunFolder) -> KeptFacts | None:
    """What `KeptFacts.write` wrote; None in a run of an earlier tellapart, which kept none.

    Raises:
        Refused: the file is damaged, or of a newer tellapart.
    """
    if not run.has(FACTS):
        return None
    values = run.read_json(FACTS)
    try:
        if values.pop("format") != FORMAT:
            raise Refused(
                f"{run.path / FACTS} was written by a newer tellapart.",
                "Make the report with the version that made the run.",
            )
        values |= {
            "unused": tuple(values["unused"]),
            "decoding": DecodeRules.from_json(values["decoding"]),
            "findings": tuple(_finding(entry) for entry in values["findings"]),
            "rates": tuple((float(epochs), float(rate)) for epochs, rate in values["rates"]),
        }
        return KeptFacts(**values)
    except (KeyError, TypeError, ValueError):
        raise Refused(f"{run.path / FACTS} is damaged.", "Put a good copy there.") from None


def unused_images(run: RunFolder, catalog: Catalog) -> tuple[str, ...]:
    """Paths of images that have a split in splits.parquet, and have none at the end of the run.

    Args:
        run: the run folder, with its splits.
        catalog: as the run ended.
    """
    import polars

    saved = polars.read_parquet(run.place / "splits.parquet", columns=["path"])["path"]
    used = set(catalog.paths[catalog.splits != ""].tolist())
    return tuple(path for path in saved.to_list() if path not in used)


def _finding(entry: Mapping[str, Any]) -> Finding:
    sets: Sequence[Sequence[str]] = entry["sets"]
    return Finding(entry["kind"], entry["text"], tuple(tuple(paths) for paths in sets))

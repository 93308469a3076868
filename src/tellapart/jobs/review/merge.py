"""`review --merge`: the decisions of two people as one patch, and how far they agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import Any

from tellapart.catalog.decisions import judge
from tellapart.catalog.fixes import Fixes, disagreements, merge, read_fixes
from tellapart.catalog.names import escape
from tellapart.errors import UserError
from tellapart.evaluation.agreement import Agreement, agreement
from tellapart.home import user_path
from tellapart.phrases import count_of
from tellapart.writing import write_whole

MOST_LINES = 20  # of disagreements on a terminal; --json has all


@dataclass(frozen=True)
class MergedFixes:
    """Two patches as one.

    Args:
        path: the file with all their lines.
        lines: how many lines it has.
        people: who decided.
        disagreements: path of an image → person → label that they give it.
        agreements: of every two people.
    """

    path: Path
    lines: int
    people: tuple[str, ...]
    disagreements: Mapping[str, Mapping[str, str]]
    agreements: tuple[Agreement, ...]

    @property
    def text(self) -> list[str]:
        """The facts for a terminal, a line each."""
        shown = list(self.disagreements.items())[:MOST_LINES]
        more = len(self.disagreements) - len(shown)
        each = [
            f"  {path}: {', '.join(f'{who} says {label}' for who, label in answers.items())}"
            for path, answers in shown
        ]
        return [
            f"{count_of(self.lines, 'decision')} in {self.path}",
            *map(str, self.agreements),
            f"{count_of(len(self.disagreements), 'disagreement')}"
            + (", which tellapart review shows first:" if each else ""),
            *each,
            *([f"  and {more:,} more"] if more else []),
        ]

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        return {
            "out": escape(str(self.path)),
            "lines": self.lines,
            "people": list(self.people),
            "disagreements": {path: dict(answers) for path, answers in self.disagreements.items()},
            "agreement": [entry.as_json() for entry in self.agreements],
        }


def merge_fixes(
    first: str | PathLike[str], second: str | PathLike[str], *, out: str | PathLike[str]
) -> MergedFixes:
    """Merge the decisions of two people: the union of their lines.

    Images on which they disagree keep their labels until somebody settles them in a review, which
    shows them first.

    Args:
        first: the fixes.jsonl of one person.
        second: that of the other.
        out: the file to write.

    Raises:
        UserError: a file cannot be read, a line is no decision, or both are by one person.
    """
    patches = [read_fixes(path) for path in (first, second)]
    merged = merge(patches, user_path(out).name)
    if len(merged.people) < 2 and all(patch.lines for patch in patches):
        raise UserError(
            f"Both files are by {merged.people[0]!r}, so their agreement cannot be measured.",
            "Let each person review with a name: tellapart review RUN --who NAME",
        )
    write_whole(user_path(out), merged.text)
    paths = {fix.digest: fix.path for fix in merged.lines}
    disputed = {
        paths[digest]: dict(sorted(verdict.by_person.items()))
        for digest, verdict in disagreements(merged).items()
    }
    return MergedFixes(
        path=user_path(out),
        lines=len(merged.text.splitlines()),
        people=tuple(merged.people),
        disagreements=disputed,
        agreements=_agreements(merged),
    )


def _agreements(fixes: Fixes) -> tuple[Agreement, ...]:
    """How far every two people agree, by what they decided before anything was settled."""
    lines = tuple(fix for fix in fixes.lines if not fix.settles)
    images = Fixes(lines).by_image().values()
    answers = [judge(decided, decided[0].was).by_person for decided in images]
    found = []
    for one, other in combinations(fixes.people, 2):
        both = [given for given in answers if one in given and other in given]
        first, second = [given[one] for given in both], [given[other] for given in both]
        found.append(agreement(first, second, (one, other)))
    return tuple(found)

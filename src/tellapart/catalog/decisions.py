"""One decision of one person on one image, as a line of a patch, and what several lines come to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

ACTIONS = ("relabel", "keep", "drop", "later", "undo")
DROPPED = "(dropped)"  # what stands for a label where an image is to be left out
_KEYS = ("digest", "path", "action", "was", "now", "why", "when", "who")


@dataclass(frozen=True, order=True)
class Fix:
    """One line of a patch. Lines are ordered by time.

    Args:
        when: the time of the decision, as ISO 8601 in UTC.
        digest: SHA-256 of the image file, 64 hex digits.
        path: where the file was. It is a help for readers and decides nothing.
        action: "relabel", "keep", "drop", "later", or "undo", which takes back what the same person
            decided before.
        was: the label that the person saw. None for an image without a label.
        now: the label that the image gets. None unless the action is "relabel".
        why: the reason, in words.
        who: the person.
        new: whether `now` becomes a class on purpose where the data has no such class.
        settles: whether the line decides a disagreement. Older lines on the image do not count then.
        number: the line's number in its file, from 1; 0 for a line that is in no file.
    """

    when: str
    digest: str
    path: str
    action: str
    was: str | None
    now: str | None
    why: str
    who: str
    new: bool = False
    settles: bool = False
    number: int = field(default=0, compare=False)

    @property
    def text(self) -> str:
        """The line, without its line break."""
        values: dict[str, Any] = {key: getattr(self, key) for key in _KEYS}
        marks = {key: True for key in ("new", "settles") if getattr(self, key)}
        return json.dumps({**values, **marks}, ensure_ascii=False)


@dataclass(frozen=True)
class Verdict:
    """What the lines on one image come to.

    Args:
        by_person: person → the label that they give it, or `DROPPED`. Persons who decided nothing
            are not in it.
        stale: the newest lines of persons that do not fit the image's label.
    """

    by_person: Mapping[str, str]
    stale: tuple[Fix, ...]

    @property
    def labels(self) -> set[str]:
        """The labels that people give the image. Two or more are a disagreement."""
        return set(self.by_person.values())

    @property
    def label(self) -> str | None:
        """The label that all agree on, or `DROPPED`; None without a decision or agreement."""
        return next(iter(self.labels)) if len(self.labels) == 1 else None


def judge(lines: Sequence[Fix], label: str | None) -> Verdict:
    """What the lines on one image say of its label: the newest line of each person counts.

    A line fits where `was` is the label, or a label that an older line gave the image. So a patch
    still fits when somebody reviewed the data again after it had been applied.

    Args:
        lines: in the order of time.
        label: what the data says. None for an image without a label.

    >>> day = ("2026-01-01T00:00:00Z", "d" * 64, "1.jpg")
    >>> judge([Fix(*day, "relabel", "cat", "dog", "", "ann")], "cat").label
    'dog'
    """
    reached: set[str | None] = {label}
    given: dict[str, str] = {}
    stale: dict[str, Fix] = {}
    for fix in lines:
        given.pop(fix.who, None)
        stale.pop(fix.who, None)
        if fix.action in ("later", "undo"):
            continue
        is_done = fix.action == "relabel" and fix.now == label
        if fix.was not in reached and not is_done:
            stale[fix.who] = fix
            continue
        if fix.action == "relabel":
            reached.add(fix.now)
        decided = {"relabel": fix.now, "keep": fix.was, "drop": DROPPED}[fix.action]
        if decided is not None:
            given[fix.who] = decided
    return Verdict(given, tuple(stale.values()))


def parse_fix(line: str, number: int = 0) -> Fix:
    """A line of a patch.

    Raises:
        ValueError: it is no decision; the message says why, without a full stop.
    """
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")
    for key in ("digest", "action", "when", "who"):
        if not isinstance(values.get(key), str) or not values[key]:
            raise ValueError(f"{key!r} must be text")
    for key in ("path", "was", "now", "why"):
        if not isinstance(values.get(key), str | None):
            raise ValueError(f"{key!r} must be text or null")
    if len(values["digest"]) != 64 or set(values["digest"]) - set("0123456789abcdef"):
        raise ValueError("'digest' must be the SHA-256 of an image, 64 hex digits")
    if values["action"] not in ACTIONS:
        raise ValueError(f"'action' must be one of {', '.join(ACTIONS)}")
    if values["action"] == "relabel" and not values.get("now"):
        raise ValueError("'relabel' needs the new label in 'now'")
    if _time(values["when"]) is None:
        raise ValueError("'when' must be a time, as 2026-11-30T20:45:00Z")
    texts = {key: values.get(key) for key in ("was", "now")}
    return Fix(
        when=values["when"],
        digest=values["digest"],
        path=values.get("path") or "",
        action=values["action"],
        why=values.get("why") or "",
        who=values["who"],
        new=values.get("new") is True,
        settles=values.get("settles") is True,
        number=number,
        **texts,
    )


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def time_and_text(fix: Fix) -> tuple[datetime, str]:
    """The order of lines in a patch: by time."""
    # By text where times are equal, so that the order of lines in a merged file decides nothing.
    return time_of(fix), fix.text


def time_of(fix: Fix) -> datetime:
    """When the decision was made."""
    time = _time(fix.when)
    assert time is not None  # `parse_fix` has seen it
    return time

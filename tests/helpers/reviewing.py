"""Decisions and findings about images that lie in a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tellapart.catalog.decisions import Fix


def digest_of(file: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def fix_of(
    data: Path, path: str, action: str, was: str, now: str | None = None, **more: Any
) -> Fix:
    """A decision on an image of a folder."""
    words = {"when": "2026-11-30T20:45:00Z", "why": "", "who": "ann", **more}
    return Fix(digest=digest_of(data / path), path=path, action=action, was=was, now=now, **words)


def write_fixes(file: Path, *fixes: Fix) -> Path:
    """A patch of some lines."""
    file.write_text("".join(f"{fix.text}\n" for fix in fixes), encoding="utf-8")
    return file


def finding(data: Path, path: str, **more: Any) -> dict[str, Any]:
    """A finding about one image of a folder, as an audit writes it."""
    label = path.partition("/")[0]
    image = {
        "path": path,
        "digest": digest_of(data / path),
        "label": label,
        "split": "train",
        "proposal": more.pop("proposal", None),
        "confidence": more.pop("confidence", None),
    }
    text = "The model sees another class. Look whether the label is right."
    usual = {"kind": "label", "title": "Perhaps a wrong label", "text": text, "score": 1.0}
    return {"number": 1, **usual, "images": [image], **more}


def write_findings(file: Path, *findings: dict[str, Any]) -> Path:
    """The findings of an audit, numbered in their order."""
    file.parent.mkdir(parents=True, exist_ok=True)
    numbered = [{**entry, "number": number} for number, entry in enumerate(findings, start=1)]
    file.write_text("".join(f"{json.dumps(entry)}\n" for entry in numbered), encoding="utf-8")
    return file


@contextlib.contextmanager
def reviewing(run: Path, data: Path, fixes: Path, who: str = "ann") -> Iterator[str]:
    """The review in a process of its own: the address of its page."""
    words = ["review", str(run), "--data", str(data), "--fixes", str(fixes), "--who", who]
    process = subprocess.Popen(
        [sys.executable, "-m", "tellapart", *words], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"http://\S+/", line):
                yield found[0]
                return
        raise AssertionError("".join(lines))
    finally:
        process.kill()
        process.wait()
        process.stderr.close()

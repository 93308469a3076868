"""The page of a folder of explanations: plain HTML beside its pictures, which needs no network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from tellapart.explain.explainer import MEANING
from tellapart.modelfile.predictor import Answer
from tellapart.runs.neighbours import Neighbour

_CSS = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 52rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .25rem; overflow-wrap: anywhere; }
p, ol { margin: .25rem 0; }
img { display: block; width: 100%; max-width: 812px; height: auto; background: #fff; }
li { overflow-wrap: anywhere; }
"""


@dataclass(frozen=True)
class Explained:
    """One image on the page.

    Args:
        answer: of the model; its status may say why there is none.
        picture: the name of its picture in the folder; "" where there is none.
        runner_up: name and probability of the most probable other class. None without one.
        near: the training images that are most like it.
    """

    answer: Answer
    picture: str = ""
    runner_up: tuple[str, float] | None = None
    near: tuple[Neighbour, ...] = ()


@dataclass(frozen=True)
class Checks:
    """What the page says of the checks of the maps.

    Args:
        picture: the name of the picture in the folder.
        lines: sentences.
    """

    picture: str
    lines: tuple[str, ...]


def explanations_page(
    entries: Sequence[Explained], kind: str, checks: Checks | None, remarks: Sequence[str]
) -> str:
    """The page.

    Args:
        entries: the images, in their order.
        kind: of the maps, as `Explanation.kind`.
        checks: of the maps; None where none could be made.
        remarks: sentences on what is not there.
    """
    policy = base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()
    head = (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="generator" content="tellapart">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\';'
        f" img-src 'self' file:; style-src 'sha256-{policy}'; base-uri 'none'\">\n"
        f"<title>Why the model answers so</title>\n<style>{_CSS}</style>\n"
    )
    body = [
        "<h1>Why the model answers so</h1>",
        *(f"<p>{escape(text)}</p>" for text in (MEANING[kind], *remarks)),
        *(_checks(checks) if checks else ()),
        *(line for number, entry in enumerate(entries, 1) for line in _entry(number, entry)),
    ]
    return head + "<main>\n" + "\n".join(body) + "\n</main>\n</html>\n"


def _checks(checks: Checks) -> list[str]:
    return [
        "<h2>Whether the maps can be trusted</h2>",
        *(f"<p>{escape(line)}</p>" for line in checks.lines),
        _picture(checks.picture, " ".join(checks.lines)),
    ]


def _entry(number: int, entry: Explained) -> list[str]:
    answer = entry.answer
    title = f"<h2>{number}. {escape(answer.path or 'image')}</h2>"
    if answer.status != "ok":
        return [title, f"<p>Not used: {escape(answer.status)}. {escape(answer.detail)}</p>"]
    words = f"{answer.answer}, {100 * (answer.confidence or 0):.1f} % ({answer.decision})"
    if entry.runner_up:
        name, probability = entry.runner_up
        words += f"; runner-up {name}, {100 * probability:.1f} %"
    lines = [title, f"<p>{escape(words)}</p>"]
    if entry.picture:
        lines.append(_picture(entry.picture, f"Heat maps of {words}"))
    if entry.near:
        items = "".join(
            f"<li>{escape(near.label)}: {escape(near.path)}, similarity {near.similarity:.2f}</li>"
            for near in entry.near
        )
        lines.append(f"<p>Nearest training images:</p><ol>{items}</ol>")
    return lines


def _picture(name: str, text: str) -> str:
    return f'<img src="{escape(name)}" alt="{escape(text)}" loading="lazy">'

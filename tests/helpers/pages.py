"""What tests ask of a page, and text that a page must never run."""

from __future__ import annotations

import json
from html.parser import HTMLParser

HOSTILE = '<img src=x onerror="alert(1)">'
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """The parts of a page that tests ask about."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, list[str]] = {"style": [], "script": []}
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == [], "a tag is not closed"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] in self.blocks:
            self.blocks[self._open[-1]].append(data)
        else:
            self.text += data

    def values(self, *names: str) -> list[str]:
        return [str(attrs[name]) for _, attrs in self.tags for name in names if name in attrs]

    @property
    def content(self) -> dict:
        return json.loads(self.blocks["script"][0])

    @property
    def policy(self) -> str:
        return next(str(attrs["content"]) for _, attrs in self.tags if attrs.get("http-equiv"))

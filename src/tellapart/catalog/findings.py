"""What a look at the data found out, in a form that every page and message can use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something worth knowing about the data.

    Args:
        kind: a kind that the pages know, such as "leak" or "duplicate", or a heading of its own.
        text: one or two sentences.
        sets: images to be seen side by side, a set each, by their catalog paths. () means none.

    >>> Finding("duplicate", "One image is there twice.", (("a.jpg", "b.jpg"),)).paths
    ('a.jpg', 'b.jpg')
    """

    kind: str
    text: str
    sets: tuple[tuple[str, ...], ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """All images that it is about."""
        return tuple(path for images in self.sets for path in images)

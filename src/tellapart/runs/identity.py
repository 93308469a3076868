"""What a run is, in run.json: written before the first step, read to resume."""

from __future__ import annotations

import importlib.metadata
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellapart.errors import Refused
from tellapart.runs.data_place import place_at, place_from

FORMAT = 1
VERSION = importlib.metadata.version("tellapart")


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """A run's number, what it is called, and what it was begun with.

    Args:
        id: hexadecimal, random; its checkpoints hold it too.
        name: what the run is called.
        data: from the run folder to the data, escaped; an absolute path only where there is no
            relative one, or an address in a store. None means that the data was given in memory.
        options: of the verb, beside the recipe: plain values.
        tellapart: the version that made it.
    """

    id: str
    name: str
    data: str | None
    options: Mapping[str, Any]
    tellapart: str = VERSION

    def data_of(self, run: Path) -> Path | str | None:
        """Where the data is, if run folder and data were moved together or not at all."""
        return place_at(run, self.data)

    def as_json(self) -> dict[str, Any]:
        """What run.json holds."""
        return {
            "id": self.id,
            "format": FORMAT,
            "tellapart": self.tellapart,
            "name": self.name,
            "data": self.data,
            "options": dict(self.options),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunIdentity:
        """The identity that run.json holds.

        Raises:
            Refused: it is of another format (both versions are named), or has unknown or missing
                fields.
        """
        if values.get("format") != FORMAT:
            raise Refused(
                f"The run was made by tellapart {values.get('tellapart')} in format"
                f" {values.get('format')}; this is tellapart {VERSION}, of format {FORMAT}.",
                "Resume it with the version that made it.",
            )
        unlike = values.keys() ^ {"id", "format", "tellapart", "name", "data", "options"}
        if unlike:
            raise Refused(
                f"run.json has unknown or missing fields: {', '.join(sorted(unlike))}.",
                "Put the run's own file back.",
            )
        return cls(**{name: value for name, value in values.items() if name != "format"})


def new_identity(run: Path, *, name: str, data: object, options: Mapping[str, Any]) -> RunIdentity:
    """The identity of a run that begins now.

    Args:
        run: its folder's final path.
        name: what it is called.
        data: where its data is; anything but a path or an address is data in memory, which has no place.
        options: of the verb, plain values.
    """
    place = place_from(run, data)
    return RunIdentity(id=secrets.token_hex(16), name=name, data=place, options=dict(options))

"""The catalog of a run, read back from its folder without the images."""

from __future__ import annotations

import json
from collections.abc import Collection

import numpy as np

from tellapart.catalog.files import Files
from tellapart.catalog.table import Catalog, text_column
from tellapart.decoders.rules import DEFAULT_RULES, DecodeRules
from tellapart.errors import Refused
from tellapart.runs.folder import RunFolder

CATALOG, SPLITS_FILE = "catalog.parquet", "splits.parquet"
_CLASSES_KEY = "tellapart.classes"


def read_catalog(
    run: RunFolder,
    files: Files,
    *,
    source: str = "",
    unused: Collection[str] = (),
    rules: DecodeRules = DEFAULT_RULES,
) -> Catalog:
    """The catalog of a run with its splits. Capture times and copies are not in it.

    Args:
        run: the run folder.
        files: where the images are read from.
        source: how the data was recognised, in a sentence.
        unused: paths of images that left their split during the run.
        rules: by which the images were decoded.

    Raises:
        Refused: a file of the run is gone or damaged.
    """
    import polars

    place = run.place / CATALOG
    try:
        table = polars.read_parquet(place)
        classes = json.loads(polars.read_parquet_metadata(place)[_CLASSES_KEY])
        place = run.place / SPLITS_FILE
        saved = polars.read_parquet(place)
        split_of = dict(saved.select("path", "split").rows())
        weights = dict(saved.select("path", "weight").rows()) if "weight" in saved.columns else {}
        split_of |= dict.fromkeys(unused, "")
        paths = table["path"].to_list()
        text = {name: text_column(table[name]) for name in ("given_split", "group", "notes")}
        return Catalog(
            files=files,
            source=source,
            classes=tuple(classes),
            paths=text_column(paths),
            labels=table["label"].to_numpy().astype(np.int64),
            given_splits=text["given_split"],
            groups=text["group"],
            weights=np.array([weights.get(path, 1.0) for path in paths], np.float64),
            statuses=text_column(table["status"]),
            details=text_column([""] * len(paths)),
            notes=text["notes"],
            widths=table["width"].to_numpy().astype(np.int64),
            heights=table["height"].to_numpy().astype(np.int64),
            digests=text_column(table["sha256"]),
            taken=text_column([""] * len(paths)),
            copies=np.arange(len(paths)),
            splits=text_column(split_of.get(path, "") for path in paths),
            rules=rules,
        )
    except (OSError, KeyError, TypeError, ValueError, polars.exceptions.PolarsError) as error:
        raise Refused(
            f"{run.path / place.name} is gone or damaged ({type(error).__name__}).",
            "Put a good copy there.",
        ) from None

"""One run's folder. What is not trained by steps appears whole; a training that can be resumed
appears with its beginning, and each further file of it appears whole.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.errors import Refused, UserError
from tellapart.evaluation.predictions import Predictions
from tellapart.writing import disk_error, sync_folder, write_whole

HEADROOM_BYTES = 2**20
FIXES = "fixes.jsonl"  # the patch of decisions that a run was trained with, where there was one
PART = ".part"  # how the name of what is not whole yet ends


class RunFolder:
    """A run's files.

    Args:
        path: where it is, or will be.
        partial: where it is until it gets its name.
    """

    def __init__(self, path: Path, partial: Path | None = None) -> None:
        self.path = path
        self._place = partial or path

    @property
    def place(self) -> Path:
        """Where the files are now: beside `path`, until the run has its name."""
        return self._place

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: log.txt is the last file that a run writes."""
        return self.has("log.txt")

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self._place / name).is_file()

    def read_json(self, name: str) -> dict[str, Any]:
        """What `write_json` wrote.

        Raises:
            Refused: the file is gone, or not what was written.
        """
        try:
            return dict(json.loads((self._place / name).read_bytes()))
        except (OSError, TypeError, ValueError):
            raise Refused(
                f"{self.path / name} is gone or damaged.", "Put a good copy there."
            ) from None

    def clear_parts(self) -> None:
        """Remove what killed processes left half-written; only for the one that holds the folder's
        lock.
        """
        for file in self._place.glob(f".*{PART}"):
            file.unlink()

    def write(self, name: str, content: bytes | str) -> None:
        """One file, whole."""
        write_whole(self._place / name, content)

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Plain values; NaN and infinity are our mistake, and an error."""
        self.write(name, json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    def write_yaml(self, name: str, values: Mapping[str, Any]) -> None:
        """Plain values, in their order."""
        import yaml

        self.write(name, yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True))

    def write_table(
        self, name: str, columns: Mapping[str, Any], about: Mapping[str, str] | None = None
    ) -> None:
        """Columns of equal length, as Parquet; `about` goes into the file's metadata."""
        import polars

        buffer = io.BytesIO()
        frame = polars.DataFrame({key: _plain(column) for key, column in columns.items()})
        frame.write_parquet(buffer, metadata=dict(about) if about else None)
        self.write(name, buffer.getvalue())

    def write_predictions(self, name: str, predictions: Predictions) -> None:
        """path, label, answer, cluster, unfamiliarity, then a probability a class: all that the
        metrics are computed from.
        """
        classes = np.array(predictions.classes, object)
        columns: dict[str, Any] = {
            "path": list(predictions.paths),
            "label": classes[predictions.labels],
            "answer": classes[predictions.predicted],
            "cluster": predictions.clusters,
        }
        if predictions.unfamiliarity is not None:
            columns["unfamiliarity"] = predictions.unfamiliarity
        columns |= {
            f"p:{name}": predictions.probs[:, column]
            for column, name in enumerate(predictions.classes)
        }
        self.write_table(name, columns)


@contextmanager
def new_run(runs: Path, name: str, *, needs_bytes: int = 0) -> Iterator[RunFolder]:
    """A run folder under `runs`, named by date, time and name. If the work inside fails, nothing
    stays behind.

    Raises:
        Refused: the disk has not the room that the run needs.
        UserError: `runs` cannot be written to.
    """
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{_safe(name)}"
    check_room(runs, needs_bytes)
    try:
        runs.mkdir(parents=True, exist_ok=True)
        partial = _claim(runs, stem)
    except OSError as error:
        raise disk_error(error, runs, needs_bytes) from error
    try:
        run = RunFolder(runs / partial.name.removeprefix(".").removesuffix(PART), partial)
        yield run
        os.rename(partial, run.path)
        sync_folder(runs)
    except BaseException:
        shutil.rmtree(
            partial, ignore_errors=True
        )  # ours, made above, never shown under a run's name
        raise


def start_run(
    runs: Path, name: str, begin: Callable[[RunFolder], None], *, needs_bytes: int = 0
) -> RunFolder:
    """A run folder that is there from the beginning of a long training, so that it can be resumed.

    Args:
        begin: writes all that a resume needs, run.json among it; if it fails, nothing stays behind.

    Raises:
        Refused, UserError: as `new_run`.
    """
    with new_run(runs, name, needs_bytes=needs_bytes) as run:
        begin(run)
    return RunFolder(run.path)


def reopen_run(path: Path) -> RunFolder:
    """The folder of a run that `start_run` began.

    Raises:
        UserError: it is no run folder, or that of a run that was made whole.
    """
    run = RunFolder(path)
    if run.has("run.json") and not path.name.endswith(PART):
        return run
    if run.has("metrics.json") and run.has("model.onnx"):
        raise UserError(
            f"{path} has nothing to resume: a probe run is made whole or not at all.",
            "Train it anew.",
        )
    raise UserError(
        f"{path} is no run folder.",
        "Give the folder of the run itself, for example runs/20261121-101500-x.",
    )


def check_room(runs: Path, needs_bytes: int) -> None:
    """See that runs can be written to `runs`, before long work and not only after it. Nothing is
    made.

    Raises:
        Refused: not enough room.
        UserError: it cannot be written to.
    """
    try:
        folder = next(folder for folder in (runs, *runs.absolute().parents) if folder.exists())
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise disk_error(error, runs, needs_bytes) from error
    if free < needs_bytes + HEADROOM_BYTES:
        raise Refused(
            f"{runs} has {free:,} bytes free, and the run needs about"
            f" {needs_bytes + HEADROOM_BYTES:,}.",
            "Make room, or choose another folder with --out.",
        )


def _claim(runs: Path, stem: str) -> Path:
    """Make the folder that a run is written in; a second run in the same second gets a number."""
    for number in range(1, 1000):
        name = stem if number == 1 else f"{stem}-{number}"
        if not (runs / name).exists():
            partial = runs / f".{name}{PART}"
            try:
                partial.mkdir()
                return partial
            except FileExistsError:
                continue
    raise UserError(f"{runs} holds too many runs of this second.", "Wait a second.")


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60] or "run"


def _plain(column: Any) -> Any:
    return column.tolist() if isinstance(column, np.ndarray) and column.dtype == object else column

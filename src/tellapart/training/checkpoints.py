"""Checkpoints: the whole state of a training in one file, whose name holds the digest of its
content.

    step-000000001200.<32 hex>.safetensors     all that the next step needs; the newest two are kept
    best-000000001000.<32 hex>.safetensors     the best network so far, while a kept step refers to it
    line-000000001200.<32 hex>.safetensors     a network between the training's start and its end

A new file is written whole before an older one is removed. So once the first is written, there is
always one to go on from. The name shows damage before anything of the content is believed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import safetensors.torch
import torch
from torch import Tensor

from tellapart.errors import Refused, reason_of
from tellapart.models.classifier import Classifier
from tellapart.progress import Console
from tellapart.runs.identity import VERSION
from tellapart.training.state import CheckpointFacts
from tellapart.writing import write_whole

FORMAT = 1
STEPS_KEPT = 2

# The metadata has one text only: the order of several would differ from file to file.
_KEY = "tellapart.checkpoint"
_FIELDS = {"format", "tellapart", "run", "kind", "step", "facts"}
_NAME = re.compile(r"(step|best|line)-([0-9]{12})\.([0-9a-f]{32})\.safetensors")
# The name of what a killed `write_whole` leaves.
_PART = re.compile(r"\.(step|best|line)-[0-9]{12}\.[0-9a-f]{2}\.\w+\.part")

_WHAT_TO_DO = "Put a good copy there, or train anew without --resume."


class _UnusableError(Exception):
    """A file is no checkpoint to go on from. The reason goes on from the file's name."""


class NotFinite(ValueError):
    """A tensor holds NaN or infinity: such a state is never written."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, read and found whole.

    Args:
        step: the optimizer steps that were done.
        tensors: name → values, contiguous, on the CPU.
        facts: its plain values.
        file: its path.
    """

    step: int
    tensors: Mapping[str, Tensor]
    facts: CheckpointFacts
    file: Path


class Checkpoints:
    """The checkpoints of one run; only one process at a time may save.

    Args:
        folder: where they are. The first save makes it.
        run_id: the id of the run. The checkpoints of another run are refused.
        console: where each one that cannot be used is named.
    """

    def __init__(self, folder: Path, run_id: str, console: Console) -> None:
        self.folder = folder
        self._run_id = run_id
        self._console = console
        # The names of those to keep, oldest first → the best network that each refers to.
        self._good: dict[str, str | None] = {}

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write the state after `step`, then remove what it makes superfluous.

        To save the same state again changes nothing.

        Args:
            step: the optimizer steps that are done.
            tensors: of the network and the optimizer.
            facts: plain values. `best` names the file that `save_best` returned, if there is one.

        Raises:
            NotFinite: a tensor is not finite. Older checkpoints stay as they are.
            Refused: the disk is full. Older checkpoints stay as they are.
        """
        name = self._write("step", step, tensors, facts)
        before = [other for other in self._good if _step(other) < step][1 - STEPS_KEPT :]
        self._good = {other: self._good[other] for other in before} | {name: facts.get("best")}
        self._prune(step)

    def save_best(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
        """Write the best network so far, and return the name of its file.

        The name belongs into the facts of the next `save`.
        """
        return self._write("best", step, tensors, facts)

    def save_between(
        self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> str:
        """Write a network that lies between the start of the training and its end, and return the
        name of its file. It stays as long as the folder.
        """
        return self._write("line", step, tensors, facts)

    def newest(self) -> Checkpoint | None:
        """The last checkpoint that can be used. None means that none was ever written.

        Raises:
            Refused: there are checkpoints, but none can be used.
        """
        reasons = []
        for name in sorted(self._names("step"), reverse=True):
            try:
                found = self._read(name)
                self._check_best(found)
            except _UnusableError as reason:
                reasons.append(f"{name} {reason}")
                self._console.say(f"{self.folder / name} {reason}; it is passed over")
            else:
                self._good = {name: found.facts.get("best")}
                return found
        if reasons:
            raise Refused(
                f"No checkpoint in {self.folder} can be used: {'; '.join(reasons)}.", _WHAT_TO_DO
            )
        return None

    def load_best(self, name: str) -> Checkpoint:
        """A network, by the name that `save_best` or `save_between` returned.

        Raises:
            Refused: it is gone or damaged.
        """
        try:
            return self._read(name)
        except _UnusableError as reason:
            raise Refused(f"{self.folder / name} {reason}.", _WHAT_TO_DO) from None

    def _check_best(self, found: Checkpoint) -> None:
        """Read the best network that a checkpoint refers to: without it, the run could not end with
        its best.
        """
        best = found.facts.get("best")
        if best is not None:
            try:
                self._read(best)
            except _UnusableError as reason:
                raise _UnusableError(f"needs {best}, which {reason}") from None

    def _write(
        self, kind: str, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
    ) -> str:
        about = {
            "format": FORMAT,
            "tellapart": VERSION,
            "run": self._run_id,
            "kind": kind,
            "step": step,
            "facts": facts,
        }
        plain = {name: _plain(name, tensor) for name, tensor in tensors.items()}
        data = safetensors.torch.save(
            plain, {_KEY: json.dumps(about, ensure_ascii=False, allow_nan=False)}
        )
        name = f"{kind}-{step:012}.{_digest(data)}.safetensors"
        path = self.folder / name
        if not (path.is_file() and path.read_bytes() == data):
            self._clear_parts()
            write_whole(path, data)
        return name

    def _read(self, name: str) -> Checkpoint:
        """Read the file of that name; an _UnusableError has the reason if it cannot be used."""
        match = _NAME.fullmatch(name)
        if not match:
            raise _UnusableError("is no name of a checkpoint")
        try:
            data = (self.folder / name).read_bytes()
        except OSError as error:
            raise _UnusableError(f"cannot be read ({reason_of(error)})") from None
        if not data:
            raise _UnusableError("is empty")
        if _digest(data) != match[3]:
            raise _UnusableError(
                "was cut short or changed (its content does not have the digest in its name)"
            )
        about = _about(data)
        if about["run"] != self._run_id:
            raise _UnusableError("belongs to another run")
        if (about["kind"], about["step"]) != (match[1], int(match[2])):
            raise _UnusableError(f"was renamed (it holds {about['kind']} {about['step']})")
        return Checkpoint(
            about["step"],
            safetensors.torch.load(data),
            cast(CheckpointFacts, about["facts"]),
            self.folder / name,
        )

    def _prune(self, step: int) -> None:
        """Remove what no kept checkpoint needs, up to `step`.

        Later ones stay: they could not be used, and only the user knows why.
        """
        bests = self._names("best")
        keep = {*self._good, *self._good.values(), max(bests, default="")}
        older = [
            name
            for name in [*self._names("step"), *bests]
            if _step(name) <= step and name not in keep
        ]
        for name in older:
            (self.folder / name).unlink()

    def _clear_parts(self) -> None:
        """Remove what killed processes left half-written, so that it does not add up."""
        for path in self.folder.glob(".*.part"):
            if _PART.fullmatch(path.name):
                path.unlink()

    def _names(self, kind: str) -> list[str]:
        if not self.folder.is_dir():
            return []
        return [
            path.name
            for path in self.folder.iterdir()
            if _NAME.fullmatch(path.name) and path.name[:4] == kind
        ]


def load_network(classifier: Classifier, checkpoint: Checkpoint) -> None:
    """Load the network's tensors of a checkpoint, each into the memory layout that it has here."""
    names = classifier.state_dict()
    missing = names.keys() - checkpoint.tensors.keys()
    if missing:
        raise Refused(
            f"{checkpoint.file} is of another network: it lacks {min(missing)!r}.",
            "Resume with the run's own recipe.",
        )
    classifier.load_state_dict({name: checkpoint.tensors[name] for name in names})


def most_bytes(model_bytes: int, optimizer_bytes: int) -> int:
    """The largest size of all checkpoints together, while one more is being written."""
    steps, bests, between = STEPS_KEPT + 1, STEPS_KEPT + 2, 1
    return steps * (model_bytes + optimizer_bytes) + (bests + between) * model_bytes


def _plain(name: str, tensor: Tensor) -> Tensor:
    """A contiguous copy on the CPU that shares no memory, and that was checked to be finite."""
    values = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    if values.is_floating_point() and not values.isfinite().all():
        raise NotFinite(f"{name} holds NaN or infinity.")
    return values


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _step(name: str) -> int:
    return int(name[5:17])


def _about(data: bytes) -> dict[str, Any]:
    """The fields of a checkpoint's metadata, or _UnusableError.

    A safetensors file begins with eight bytes that give the length of the JSON text behind them.
    """
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        about = dict(json.loads(header["__metadata__"][_KEY]))
    except (KeyError, TypeError, ValueError):
        raise _UnusableError("holds no checkpoint") from None
    if about.get("format") != FORMAT:
        raise _UnusableError(
            f"was written by tellapart {about.get('tellapart')} in format {about.get('format')} "
            f"(this is tellapart {VERSION}, of format {FORMAT})"
        )
    if about.keys() != _FIELDS:
        raise _UnusableError(
            f"has unknown or missing fields ({', '.join(sorted(about.keys() ^ _FIELDS))})"
        )
    return about

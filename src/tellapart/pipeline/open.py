"""Opening a run that trains by steps: a new one, one that is resumed, or one that another process
writes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from typing import Any

from tellapart.catalog.names import escape
from tellapart.errors import Interrupted, Refused, UserError
from tellapart.pipeline.data import Data
from tellapart.pipeline.record import write_beginning
from tellapart.pipeline.request import Request, how_to_resume
from tellapart.runs.folder import RunFolder, start_run
from tellapart.runs.identity import RunIdentity, new_identity
from tellapart.runs.lock import locked


class OpenRun:
    """A run folder that this process works in.

    Args:
        request: what is trained.
        writes: whether this process writes the files. Of several processes one does.
        held: keeps the folder's lock until the run is closed.

    Attributes:
        folder: the run folder. A process that does not write never touches it.
        id: the run's number, which its checkpoints hold too.
        resumed: whether the run goes on from an earlier session.
    """

    def __init__(self, request: Request, writes: bool, held: ExitStack) -> None:
        self.folder = request.run or RunFolder(request.runs)
        self.id = request.identity.id if request.identity else ""
        self.resumed = request.run is not None
        self._request, self._writes, self._held = request, writes, held
        if self.resumed and writes and not self.folder.finished:
            held.enter_context(locked(self.folder.path))
            self.folder.clear_parts()

    @property
    def finished(self) -> bool:
        """Whether an earlier session has done everything."""
        return self.resumed and self.folder.finished

    @property
    def begun(self) -> bool:
        """Whether the folder is there, so that the run can be resumed."""
        return bool(self.id)

    def begin(self, data: Data, **options: Any) -> None:
        """Make the folder of a new run, locked from now on; an older run is there already.

        Args:
            data: what the run is trained on. Its catalog and splits are written first.
            options: of the verb, for run.json.
        """
        if self.resumed or not self._writes:
            return
        request = self._request
        options = {"own_splits": request.own_splits, **options}
        if own_parts := request.extensions.used_by(request.recipe):
            options["extensions"] = own_parts
        if request.preset:
            options["preset"] = dict(request.preset)
        made: list[RunIdentity] = []

        def write(folder: RunFolder) -> None:
            identity = new_identity(
                folder.path, name=request.name, data=request.source, options=options
            )
            folder.write_json("run.json", identity.as_json())
            write_beginning(folder, request.recipe, data.catalog)
            made.append(identity)

        self.folder = start_run(request.runs, escape(request.name), write)
        self.id = made[0].id
        self._held.enter_context(locked(self.folder.path))

    def refitting(self) -> OpenRun:
        """The same folder for its own training, after the folds in it.

        It is resumed only if that training itself was begun before.
        """
        run = copy(self)
        run.resumed = any(self.folder.path.glob("checkpoints/step-*"))
        return run

    def discard(self) -> None:
        """Remove the folder of a new run in which nothing was learned yet."""
        learned = any(self.folder.path.glob("**/checkpoints/step-*"))
        if self.begun and self._writes and not (self.resumed or learned):
            shutil.rmtree(self.folder.path, ignore_errors=True)


@contextmanager
def open_run(request: Request, *, writes: bool = True) -> Iterator[OpenRun]:
    """The run of a request, locked while it is open.

    Whoever stops it is told how to go on with it. A new run that a setting forbids before its first
    checkpoint leaves no folder behind.

    Raises:
        UserError: another process trains in that folder.
        Interrupted: the user stopped it, with the command that goes on.
    """
    with ExitStack() as held:
        run = OpenRun(request, writes, held)
        try:
            yield run
        except (Interrupted, KeyboardInterrupt) as stop:
            if not run.begun:
                raise
            said = (
                stop.message
                if isinstance(stop, Interrupted)
                else "Interrupted; what was learned is kept."
            )
            resume = how_to_resume(run.folder.path, verb=request.verb)
            raise Interrupted(said, f"Go on with: {resume}") from None
        except Refused:
            raise
        except UserError:
            run.discard()
            raise

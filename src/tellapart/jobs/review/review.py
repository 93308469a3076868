"""`review`: the findings of an audit as a page on this machine, and decisions that are never lost.

findings ─▶ page ─▶ decision ─▶ fixes.jsonl ─▶ `--fixes` of every verb that reads data
"""

from __future__ import annotations

import getpass
import secrets
from os import PathLike
from pathlib import Path

from tellapart.errors import UserError, needs_extra, reason_of
from tellapart.home import user_path
from tellapart.modelfile.predictor import load
from tellapart.phrases import count_of
from tellapart.pipeline.run_images import files_of
from tellapart.progress import Console
from tellapart.runs.folder import FIXES
from tellapart.server.limits import Limits
from tellapart.sources.source import Source
from tellapart.writing import write_whole

HOST = "127.0.0.1"
HOSTS = (HOST, "localhost")
FINDINGS = Path("audit", "findings.jsonl")


def review(
    run: str | PathLike[str],
    *,
    fixes: str | PathLike[str] | None = None,
    who: str | None = None,
    data: Source | None = None,
    port: int = 0,
    quiet: bool = False,
) -> None:
    """Show the findings of an audit in the browser, until the process is stopped.

    Each decision is on the disk before the page says that it is saved. No image file is touched.

    Args:
        run: a run folder that `audit` has looked at.
        fixes: the file that decisions are added to. Default: fixes.jsonl beside the findings.
        who: the person who decides. Default: the name of this account.
        data: where the data of the training is. Default: where the run says it is.
        port: to listen on; 0 takes a free one.
        quiet: say nothing but the address of the page.

    Raises:
        UserError: there are no findings, the data is not there, or a file cannot be read or written.
    """
    try:
        from tellapart.server.app import bind
        from tellapart.server.app import run as serve_until_stopped
        from tellapart.server.review.app import Review, make_review_app
        from tellapart.server.review.heat import Heats
        from tellapart.server.review.journal import Journal
        from tellapart.server.review.scaled import Scaled
        from tellapart.server.review.stream import read_stream
    except ModuleNotFoundError as error:
        raise needs_extra(error.name or "starlette", "serve") from None
    from tellapart.jobs.review.nearest import nearest_by

    folder, console = user_path(run), Console(quiet=quiet)
    file = findings_of(folder)
    predictor = load(folder)
    with console.step("Listing the files"):
        files = files_of(folder, data, "The review shows the run's own images.")
    stream = read_stream(file)
    patch = _patch(folder, fixes)
    journal = Journal(patch, who or _account())
    if journal.repaired:
        console.say(f"note: the last line of {patch} was cut off, and is removed")
    scaled = Scaled(files, predictor.card.decoding)
    page = Review(
        stream,
        journal,
        scaled,
        predictor.classes,
        title=folder.absolute().name,
        next_step=f"tellapart review {run} --retrain --fixes {patch}",
        nearest=nearest_by(folder, predictor, scaled),
        heats=Heats(predictor, scaled),
    )
    word, limits = secrets.token_urlsafe(16), Limits()
    try:
        listening = bind(HOST, port)
    except OSError as error:
        raise UserError(
            f"The review cannot listen on port {port} ({reason_of(error)}).", "Name another --port."
        ) from None
    app, desk = make_review_app(page, word=word, hosts=HOSTS, limits=limits)
    address = f"http://{HOST}:{listening.getsockname()[1]}/{word}/"

    def started() -> None:
        found = count_of(len(stream.findings), "finding")
        console.say(f"{found}, {count_of(journal.count, 'decision')} in {patch} so far")
        console.say(f"The page is {address} Ctrl-C stops the review.")

    with listening:
        serve_until_stopped(app, desk, listening, limits, started)
    journal.close()


def findings_of(run: Path) -> Path:
    """The findings of a run.

    Raises:
        UserError: `audit` has not looked at it.
    """
    file = run / FINDINGS
    if file.is_file():
        return file
    if not run.is_dir():
        raise UserError(f"{run} is no folder.", "Give the folder of a run.")
    raise UserError(f"{run} has no findings yet.", f"Make them first: tellapart audit {run}")


def _patch(run: Path, fixes: str | PathLike[str] | None) -> Path:
    """The file that decisions are added to. It begins with the fixes that the run was trained with."""
    patch = run / FINDINGS.parent / FIXES if fixes is None else user_path(fixes)
    if not patch.exists() and (run / FIXES).is_file():
        write_whole(patch, (run / FIXES).read_bytes())
    return patch


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a process without an account, as in some containers
        return "somebody"

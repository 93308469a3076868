"""`serve`: models over HTTP, with a page for people and an API for programs. Needs no torch."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from tellapart.cores import usable_cores
from tellapart.errors import UserError, needs_extra, reason_of, require
from tellapart.home import user_path
from tellapart.modelfile.model_name import model_name
from tellapart.modelfile.predictor import Predictor, load
from tellapart.progress import Console
from tellapart.server.limits import Limits

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
LEAST_TOKEN = 16  # characters
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def serve(
    models: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: str | PathLike[str] | None = None,
    names: Sequence[str] = (),
    workers: int | None = None,
    limits: Limits | None = None,
    quiet: bool = False,
) -> None:
    """Answer images over HTTP until the process is stopped.

    SIGTERM or Ctrl-C stops it: answers in progress are finished first. A second signal ends it at
    once.

    Args:
        models: model files or run folders, each as it is or as "NAME=PATH". The name stands in
            addresses; without one it is that of the file, or of the run without its date.
        host: the address to listen on. Any but one of this machine alone needs a token.
        port: to listen on, 0 for a free one.
        token_file: a file that holds the token that clients must show, 16 characters or more.
        names: the host names by which clients may call the server, beside those of this machine.
            With a token and no name, any will do.
        workers: how many processes answer. None takes one for each core.
        limits: of requests, waiting and computing.
        quiet: say nothing but the log.

    Raises:
        UserError: a model cannot be loaded, the address cannot be used, or a token is missing.
        Fault: the processes that answer die again and again.

    >>> tellapart.serve(run.path, host="0.0.0.0")
    Traceback (most recent call last):
        ...
    tellapart.errors.UserError: Everybody who reaches 0.0.0.0 could use the models. ...
    """
    try:
        from tellapart.server.app import bind, make_app, run
    except ModuleNotFoundError as error:
        raise needs_extra(error.name or "starlette", "serve") from None
    if workers is not None:
        require(workers >= 1, "workers", workers, "must be 1 or more")
    token = None if token_file is None else _read_token(user_path(token_file))
    if token is None and not _is_loopback(host):
        raise UserError(
            f"Everybody who reaches {host} could use the models.",
            "Give a token with --token-file, or serve on 127.0.0.1 behind a proxy that asks for one.",
        )
    served, runs = _load([models] if isinstance(models, str | PathLike) else models)
    allowed = {name.lower() for name in names}
    if token is None or allowed:
        allowed |= {*LOOPBACK_NAMES, host.lower()}
    limits = limits or Limits()
    try:
        listening = bind(host, port)
    except OSError as error:
        raise UserError(
            f"The server cannot listen on {host}, port {port} ({reason_of(error)}).",
            "Name another --port, or another --host.",
        ) from None
    console = Console(quiet=quiet)
    app, desk = make_app(
        served,
        workers=workers or usable_cores(),
        limits=limits,
        token=token,
        hosts=allowed,
        runs=runs,
    )
    address = _address(host, listening)

    def started() -> None:
        for name in served:
            console.say(f"{name}: POST an image to {address}/v1/models/{name}/predict")
        console.say(f"The page is {address}/. Ctrl-C stops the server.")

    with listening:
        run(app, desk, listening, limits, started)


def _load(
    models: Sequence[str | PathLike[str]],
) -> tuple[dict[str, Predictor], dict[str, Path]]:
    """Name → loaded model, and name → run folder of those that are given as one.

    Raises:
        UserError: there is none, or two have one name.
    """
    if not models:
        raise UserError("There is no model to serve.", "Name a model.onnx or a run folder.")
    found: dict[str, Predictor] = {}
    runs: dict[str, Path] = {}
    for given in models:
        name, path = _named(given)
        if name in found:
            raise UserError(f"Two models are called {name!r}.", f"Name one of them: NAME={path}.")
        found[name] = load(path)
        if path.is_dir():
            runs[name] = path.absolute()
    return found, runs


def _named(given: str | PathLike[str]) -> tuple[str, Path]:
    """The name of a model in addresses, and its path."""
    text = str(given)
    before, equals, after = text.partition("=")
    if equals and _NAME.fullmatch(before) and not user_path(text).exists():
        return before, user_path(after)
    path = user_path(given)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", model_name(path)).strip("-._")
    return (name or "model")[:64], path


def _read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        UserError: it cannot be read, or is too short.
    """
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is no text"
        raise UserError(
            f"The token file {path} cannot be read ({reason}).", "Give a file that holds one line."
        ) from None
    if len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(
            f"The token in {path} must be {LEAST_TOKEN} or more letters, digits and signs.",
            "This makes one: python -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    return token


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _address(host: str, listening: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"

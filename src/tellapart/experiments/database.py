"""The database of a study: where it is, how it is opened, and what its errors say."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from tellapart.errors import UserError, one_line
from tellapart.experiments.claims import made_once
from tellapart.home import user_path

# Optuna wraps some of SQLAlchemy's errors in its own.
DATABASE_ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError)
WAIT_SECONDS = 60  # while another process writes into the same SQLite file


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """Open a database, and make the tables that are missing.

    Raises:
        UserError: there is no such database, no driver for it, or other software owns it.
    """
    try:
        url = _without_tilde(url)
        shown = make_url(url).render_as_string(hide_password=True)
        sqlite = make_url(url).get_backend_name() == "sqlite"
        options = {"connect_args": {"timeout": WAIT_SECONDS}} if sqlite else {"pool_pre_ping": True}
        with quiet_optuna():
            return made_once(lambda: optuna.storages.RDBStorage(url, engine_kwargs=options))
    except ArgumentError:
        raise UserError(
            "The storage is no database URL.",
            "Write it as postgresql://USER@HOST/NAME or sqlite:///FILE.",
        ) from None
    except ImportError as error:
        raise UserError(
            f"{shown} needs a driver that is not installed ({error.__cause__ or error}).",
            "Install it with pip.",
        ) from None
    except (SQLAlchemyError, RuntimeError, optuna.exceptions.OptunaError) as error:
        raise UserError(
            f"The database {shown} cannot be used ({database_words(error)}).",
            "Look at its address and rights.",
        ) from error


def database_words(error: Exception) -> str:
    """A database's own words for an error, in one line."""
    own = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else None
    return one_line(str(own or error).split("\n")[0])


def database_file(folder: Path) -> Path:
    """A study's own SQLite database in its folder, for processes of one machine and its disk."""
    return folder / "study.sqlite"


def database_of(folder: Path) -> str:
    """The URL of a study's own database."""
    return f"sqlite:///{database_file(folder).resolve()}"


def _without_tilde(url: str) -> str:
    """The address of a database, with the home folder for a `~` that begins a SQLite file."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not (parsed.database or "").startswith("~"):
        return url
    file = str(user_path(parsed.database or ""))
    return parsed.set(database=file).render_as_string(hide_password=False)


def close_storage(database: optuna.storages.RDBStorage) -> None:
    """Close all connections."""
    database.remove_session()
    database.engine.dispose()


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Silence Optuna's log and its warnings about experimental features."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

"""A study that several processes share: its settings, its trials in Optuna's storage, and who works
on which.

A trial's number is claimed before the trial exists, and a trial that a killed process left behind
is gone on with, by whoever claims its number next: it keeps its settings and what it has reported.
So the number of trials is exact, and no trial is run twice to its end.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from tellapart.errors import Refused, UserError, one_line
from tellapart.evaluation.scores import LOWER_IS_BETTER, better
from tellapart.experiments.claims import Claims, Hold, made_once
from tellapart.experiments.space import Space, Value
from tellapart.keyed import keyed_numbers
from tellapart.report.tune.trial_table import TrialRow

Sampler = Literal["tpe", "random"]
SAMPLERS: tuple[Sampler, ...] = ("tpe", "random")

# Trials of a random search before the sampler learns from them. Optuna's ten are half of a usual
# study of ours.
RANDOM_TRIALS = 6
# A trial may be stopped early, by the median of the others at the same share of the training, when
# there are so many others, and not in the first so many tenths of it: before, a rate that will win
# is often behind. Hyperband would divide twenty trials of ten epochs among brackets of a handful
# each, which is too few to compare anything.
PRUNING_TRIALS, PRUNING_TENTHS = 4, 3
DATABASE_ERRORS = (
    SQLAlchemyError,
    optuna.exceptions.StorageInternalError,
)  # Optuna wraps some of the former
WAIT_SECONDS = 60  # for another process that writes into the same SQLite file
FINAL = -1  # the number under which the final training is claimed
_STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "running",
}


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """What all processes of a study must have in common.

    Args:
        catalog: the data's digest.
        splits: their hash.
        recipe, space: as plain values.
        metric: of val, that decides.
        folds: None: val scores.
        seed: of sampler and trials.
    """

    catalog: str
    splits: str
    recipe: Mapping[str, Any]
    space: Mapping[str, Any]
    metric: str
    folds: int | None
    seed: int
    sampler: Sampler

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def check_same(self, given: StudySettings) -> None:
        """Refuse what would make two different studies of one.

        Raises:
            Refused: with what differs.
        """
        mine, other = self.as_json(), given.as_json()
        words = {"catalog": "the data", "splits": "the splits"}
        unlike = [words.get(name, f"the {name}") for name in mine if mine[name] != other[name]]
        if unlike:
            told = (
                f"{' and '.join(unlike)}"
                f" {'are' if len(unlike) > 1 or unlike[0].endswith('s') else 'is'} not"
            )
            raise Refused(
                f"This is another study: {told} the same.",
                "Join it with the data and the settings that it was begun with, or begin a new"
                " one.",
            )


class Study:
    """A study in a database.

    Args:
        url: of the database, as SQLAlchemy takes it.
        name: of the study in it.
        settings: to begin it with, or to check against those that it has.

    Raises:
        UserError: the database cannot be used.
        Refused: it is a study with other settings.
    """

    def __init__(self, url: str, name: str, settings: StudySettings) -> None:
        self.name, self.settings = name, settings
        self._database = open_storage(url)
        self._storage = optuna.storages.get_storage(self._database)  # remembers finished trials
        direction: Literal["minimize", "maximize"] = (
            "minimize" if settings.metric.endswith(LOWER_IS_BETTER) else "maximize"
        )
        with _quiet():
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=name,
                direction=direction,
                load_if_exists=True,
                pruner=_pruner(),
            )
        self._id = self._storage.get_study_id_from_name(name)
        kept = self._study.user_attrs.get("settings")
        if kept is None:
            self._study.set_user_attr("settings", settings.as_json())
        else:
            StudySettings(**kept).check_same(settings)
        self.claims = Claims(self._database.engine, name)

    @property
    def total(self) -> int | None:
        """How many trials it is to have; None: as many as there is time for."""
        total: int | None = self._study.user_attrs.get("total")
        return total

    @total.setter
    def total(self, value: int | None) -> None:
        self._study.set_user_attr("total", value)

    @property
    def finals(self) -> list[dict[str, Any]]:
        """The final trainings, the last one last: trial, run, name and id of the study's folder,
        and test accuracy.
        """
        return list(self._study.user_attrs.get("finals", []))

    def add_final(self, facts: Mapping[str, Any]) -> None:
        """Record a final training; only for the process that holds FINAL."""
        self._study.set_user_attr("finals", [*self.finals, dict(facts)])

    def rows(self) -> list[TrialRow]:
        """All trials by their numbers."""
        return [_row(number, trial) for number, trial in sorted(self._by_number().items())]

    def best(self) -> TrialRow | None:
        """The finished trial with the best value; of equals the first."""
        best: TrialRow | None = None
        for row in self.rows():
            if row.state == "finished" and better(
                self.settings.metric, row.value, best.value if best else None
            ):
                best = row
        return best

    def take(self, space: Space) -> OpenTrial | None:
        """The next trial that nobody works on: one that was left behind, or a new one. None: there
        is none now.
        """
        known = self._by_number()
        last = max(known, default=-1) + 1
        for number in range(last + 1 if self.total is None else self.total):
            trial = known.get(number)
            if trial and trial.state.is_finished():
                continue
            if self.claims.take(number):
                now = self._by_number().get(number)
                if now and now.state.is_finished():  # between the look and the claim
                    self.claims.release(number)
                    continue
                return OpenTrial(self, number, self._begun(number, now, space), space)
        return None

    def others_work(self, poll_seconds: float) -> bool:
        """Whether another process is at a trial. One that was killed left a claim too: a sign of
        life is waited for.
        """
        before = self._others_trials()
        while before:
            time.sleep(poll_seconds)
            now = self._others_trials()
            if now - before:
                return True
            before = now
        return False

    @property
    def is_over(self) -> bool:
        """Whether all trials that it is to have are finished."""
        rows = [row for row in self.rows() if row.state != "running"]
        return self.total is not None and {row.number for row in rows} >= set(range(self.total))

    def seed_of(self, number: int) -> int:
        """The seed of a trial."""
        return int(keyed_numbers(self.settings.seed, "trial", [str(number)])[0]) % 2**31

    def importances(self) -> dict[str, float]:
        """Key → its share of what decided, by PED-ANOVA; empty where all values are equal.

        Source: Watanabe et al. 2023, https://arxiv.org/abs/2304.10255.
        """
        done = [row.value for row in self.rows() if row.state == "finished"]
        if len(set(done)) < 2:
            return {}
        with _quiet():
            return dict(optuna.importance.get_param_importances(self._study))

    def close(self) -> None:
        """Let go of the database."""
        self._storage.remove_session()
        self._database.engine.dispose()

    def _others_trials(self) -> frozenset[tuple[int, str, int]]:
        return frozenset(claim for claim in self.claims.of_others() if claim[0] != FINAL)

    def _begun(self, number: int, known: FrozenTrial | None, space: Space) -> Trial:
        """The trial of a number, new or as it was left; its settings are drawn from a seed of its
        own, so neither a stop nor another process changes what they are.
        """
        with _quiet():
            # A study of its own for each trial: one that is kept would sample from the trials that
            # it first saw.
            sampler = _sampler(self.settings.sampler, self.seed_of(number))
            study = optuna.load_study(
                storage=self._storage, study_name=self.name, sampler=sampler, pruner=_pruner()
            )
            if known is not None:
                return Trial(study, known._trial_id)
            fixed = {"fixed_params": space.own()} if number == 0 else {}
            new = create_trial(
                state=TrialState.RUNNING, user_attrs={"number": number}, system_attrs=fixed
            )
            return Trial(study, self._storage.create_new_trial(self._id, new))

    def _by_number(self) -> dict[int, FrozenTrial]:
        found: dict[int, FrozenTrial] = {}
        for trial in self._study.get_trials(deepcopy=False):
            found.setdefault(int(trial.user_attrs["number"]), trial)
        return found

    def _end(self, trial: Trial, state: TrialState, value: float | None) -> None:
        self._storage.set_trial_state_values(
            trial._trial_id, state, None if value is None else [value]
        )


class OpenTrial:
    """A trial that this process works on. Use it in a `with` statement, which keeps the claim
    alive.
    """

    def __init__(self, study: Study, number: int, trial: Trial, space: Space) -> None:
        self.number, self.seed = number, study.seed_of(number)
        self._study, self._trial = study, trial
        self._hold = Hold(study.claims, number)
        with _quiet():
            self.settings: dict[str, Value] = space.drawn(trial)

    @property
    def lost(self) -> bool:
        """Whether another process has taken it over: then nothing that is found out here counts."""
        return self._hold.lost

    @property
    def reported(self) -> dict[int, float]:
        """Step → value, of this process and of those before it."""
        return dict(self._study._storage.get_trial(self._trial._trial_id).intermediate_values)

    def report(self, step: int, value: float) -> bool:
        """Say how it goes; returns whether to stop it: it will not win, or another process has
        taken it over.

        A step that was reported before is left as it is.
        """
        if not self._hold.is_mine():
            return True
        with _quiet():
            if step not in self.reported:
                self._trial.report(value, step)
            return self._trial.should_prune()

    def finish(self, value: float, facts: Mapping[str, Any]) -> bool:
        """Record the end; False: another process has taken it over, and nothing was recorded."""
        return self._finish(TrialState.COMPLETE, value, facts)

    def stop(self, value: float | None, facts: Mapping[str, Any]) -> bool:
        """Record that it was stopped early, with the value that it had."""
        return self._finish(TrialState.PRUNED, value, facts)

    def fail(self, reason: str, facts: Mapping[str, Any]) -> bool:
        """Record that it failed, and why."""
        return self._finish(TrialState.FAIL, None, {**facts, "reason": reason})

    def _finish(self, state: TrialState, value: float | None, facts: Mapping[str, Any]) -> bool:
        if not self._hold.is_mine():
            return False
        try:
            for name, fact in facts.items():
                self._trial.set_user_attr(name, fact)
            self._study._end(self._trial, state, value)
        except UpdateFinishedTrialError:  # taken over and finished since the question
            return False
        return True

    def __enter__(self) -> OpenTrial:
        self._hold.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hold.__exit__(*error)


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """The database, with its tables made where they are missing.

    Raises:
        UserError: no such database, no driver for it, or it is no database of ours.
    """
    try:
        shown = make_url(url).render_as_string(hide_password=True)
        sqlite = make_url(url).get_backend_name() == "sqlite"
        options = {"connect_args": {"timeout": WAIT_SECONDS}} if sqlite else {"pool_pre_ping": True}
        with _quiet():
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
    """What a database says of an error, in a line."""
    own = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else None
    return one_line(str(own or error).split("\n")[0])


def database_file(folder: Path) -> Path:
    """A study's own database in its folder. SQLite: for processes of one machine, on a disk of its
    own.
    """
    return folder / "study.sqlite"


def database_of(folder: Path) -> str:
    """Its URL."""
    return f"sqlite:///{database_file(folder).resolve()}"


def _row(number: int, trial: FrozenTrial) -> TrialRow:
    facts = trial.user_attrs
    value = trial.values[0] if trial.values else math.nan
    return TrialRow(
        number=number,
        state=_STATES[trial.state],
        settings=dict(trial.params),
        value=value,
        scores=facts.get("scores", {}),
        epochs=facts.get("epochs"),
        seconds=facts.get("seconds"),
        reason=facts.get("reason", ""),
        run=facts.get("run", ""),
    )


def _sampler(name: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)


def _pruner() -> optuna.pruners.BasePruner:
    return optuna.pruners.MedianPruner(
        n_startup_trials=PRUNING_TRIALS, n_warmup_steps=PRUNING_TENTHS
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna without its log and its warnings of what is experimental in it."""
    logger = logging.getLogger("optuna")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def tenths_of(epoch: int, epochs: int) -> Sequence[int]:
    """The tenths of a training that end with an epoch: by these, trainings of different lengths are
    compared.

    A rate that falls over the whole training says the same at half of it, whatever its length; not
    so at epoch 2.

    >>> [list(tenths_of(epoch, 4)) for epoch in (1, 2, 3, 4)]
    [[1, 2], [3, 4, 5], [6, 7], [8, 9, 10]]
    """
    return range(10 * (epoch - 1) // epochs + 1, 10 * epoch // epochs + 1)


def kept_settings(url: str, name: str) -> StudySettings | None:
    """The settings of a study that is in the database already.

    Raises:
        UserError: the database cannot be used.
    """
    storage = open_storage(url)
    try:
        with _quiet():
            attributes = storage.get_study_user_attrs(storage.get_study_id_from_name(name))
    except KeyError:
        return None
    finally:
        storage.remove_session()
        storage.engine.dispose()
    return StudySettings(**attributes["settings"]) if "settings" in attributes else None

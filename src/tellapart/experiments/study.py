"""A study that several processes share: its settings, its trials in Optuna's storage, its claims.

A process claims a trial's number before the trial exists. If a process is killed, whoever claims
the number next continues its trial, with the same settings and with what it has reported. So the
number of trials is exact, and no trial is run to its end twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, overload

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from tellapart.errors import Refused
from tellapart.evaluation.scores import LOWER_IS_BETTER, better
from tellapart.evaluation.trial_row import TrialRow
from tellapart.experiments.claims import Claims, Hold
from tellapart.experiments.database import close_storage, open_storage, quiet_optuna
from tellapart.experiments.space import Space, Value
from tellapart.keyed import keyed_numbers

Sampler = Literal["tpe", "random"]
SAMPLERS: tuple[Sampler, ...] = ("tpe", "random")

# Random trials before the sampler learns from them. Optuna's default of ten would be half of a
# usual study.
RANDOM_TRIALS = 6
# A trial is stopped early if it is worse than the median of the others at the same share of the
# training. That needs this many other trials, and waits for this many tenths of the training:
# earlier, a learning rate that will win is often behind. Hyperband would divide twenty trials of
# ten epochs among brackets of a handful each, which is too few to compare anything.
PRUNING_TRIALS, PRUNING_TENTHS = 4, 3
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
        catalog: digest of the data.
        splits: hash of the splits.
        recipe: as plain values.
        space: as plain values.
        metric: what trials are ranked by, measured on val or on the folds.
        folds: how many folds judge a trial. None means val.
        seed: for the sampler and the trials.
        sampler: how settings are drawn.
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
        """Refuse settings that would make two different studies of one.

        Raises:
            Refused: the message names what differs.
        """
        mine, other = self.as_json(), given.as_json()
        words = {"catalog": "the data", "splits": "the splits"}
        unlike = [words.get(name, f"the {name}") for name in mine if mine[name] != other[name]]
        if unlike:
            verb = "are" if len(unlike) > 1 or unlike[0].endswith("s") else "is"
            raise Refused(
                f"This is another study: {' and '.join(unlike)} {verb} not the same.",
                "Join it with the data and settings that it was started with, or start a new one.",
            )


class Study:
    """A study in a database. `open_or_create` makes one.

    Args:
        database: opened by `open_storage`.
        name: of the study in it.
        settings: to start the study with, or to check against those that it has.

    Raises:
        Refused: the study has other settings.
    """

    def __init__(
        self, database: optuna.storages.RDBStorage, name: str, settings: StudySettings
    ) -> None:
        self.name, self.settings = name, settings
        self._database = database
        # A wrapper that remembers finished trials, so they are read from the database once.
        self._storage = optuna.storages.get_storage(self._database)
        direction: Literal["minimize", "maximize"] = (
            "minimize" if settings.metric.endswith(LOWER_IS_BETTER) else "maximize"
        )
        with quiet_optuna():
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
        """How many trials it will have. None means as many as there is time for."""
        total: int | None = self._study.user_attrs.get("total")
        return total

    @total.setter
    def total(self, value: int | None) -> None:
        self._study.set_user_attr("total", value)

    @property
    def finals(self) -> list[dict[str, Any]]:
        """The final trainings, the latest last.

        Each has the trial, the run, name and id of the study's folder, and the test accuracy.
        """
        return list(self._study.user_attrs.get("finals", []))

    def add_final(self, facts: Mapping[str, Any]) -> None:
        """Record a final training. Only the process that holds `FINAL` may call it."""
        self._study.set_user_attr("finals", [*self.finals, dict(facts)])

    def rows(self) -> list[TrialRow]:
        """All trials, by number."""
        return [_row(number, trial) for number, trial in sorted(self._by_number().items())]

    def best(self) -> TrialRow | None:
        """The finished trial with the best value. Of several equals it is the first."""
        best: TrialRow | None = None
        for row in self.rows():
            if row.state == "finished" and better(
                self.settings.metric, row.value, best.value if best else None
            ):
                best = row
        return best

    def take(self, space: Space) -> OpenTrial | None:
        """Claim the next trial that nobody works on: an abandoned one, or a new one.

        Returns:
            None if there is no such trial now.
        """
        trials = self._by_number()
        following = max(trials, default=-1) + 1
        for number in range(following + 1 if self.total is None else self.total):
            trial = trials.get(number)
            if trial and trial.state.is_finished():
                continue
            if self.claims.take(number):
                # Read again: its holder may have finished it between the reading and the claim.
                trial = self._by_number().get(number)
                if trial and trial.state.is_finished():
                    self.claims.release(number)
                    continue
                return OpenTrial(self, number, self._begun(number, trial, space), space)
        return None

    def others_work(self, poll_seconds: float) -> bool:
        """Whether another process works on a trial.

        A process that was killed leaves its claim behind, so this waits for a sign of life.
        """
        before = self._others_trials()
        while before:
            time.sleep(poll_seconds)
            after = self._others_trials()
            if after - before:
                return True
            before = after
        return False

    @property
    def is_over(self) -> bool:
        """Whether all trials that it will have are finished."""
        rows = [row for row in self.rows() if row.state != "running"]
        return self.total is not None and {row.number for row in rows} >= set(range(self.total))

    def seed_of(self, number: int) -> int:
        """The seed of a trial."""
        return int(keyed_numbers(self.settings.seed, "trial", [str(number)])[0]) % 2**31

    def importances(self) -> dict[str, float]:
        """Map each key to its share of what decided, by PED-ANOVA. Empty if all values are equal.

        Source: Watanabe et al. 2023, https://arxiv.org/abs/2304.10255.
        """
        values = [row.value for row in self.rows() if row.state == "finished"]
        if len(set(values)) < 2:
            return {}
        with quiet_optuna():
            return dict(optuna.importance.get_param_importances(self._study))

    def close(self) -> None:
        """Close the connection to the database."""
        close_storage(self._database)

    def _others_trials(self) -> frozenset[tuple[int, str, int]]:
        return frozenset(claim for claim in self.claims.of_others() if claim[0] != FINAL)

    def _begun(self, number: int, known: FrozenTrial | None, space: Space) -> Trial:
        """The trial of a number, new or as it was left.

        Its settings are drawn from a seed of its own, so neither a stop nor another process
        changes them.
        """
        with quiet_optuna():
            # Load the study anew for each trial: one that is kept would sample from the trials
            # that it saw first.
            sampler = _sampler(self.settings.sampler, self.seed_of(number))
            study = optuna.load_study(
                storage=self._storage, study_name=self.name, sampler=sampler, pruner=_pruner()
            )
            if known is not None:
                return Trial(study, known._trial_id)
            fixed = {"fixed_params": space.own()} if number == 0 else {}
            template = create_trial(
                state=TrialState.RUNNING, user_attrs={"number": number}, system_attrs=fixed
            )
            return Trial(study, self._storage.create_new_trial(self._id, template))

    def _by_number(self) -> dict[int, FrozenTrial]:
        trials: dict[int, FrozenTrial] = {}
        for trial in self._study.get_trials(deepcopy=False):
            trials.setdefault(int(trial.user_attrs["number"]), trial)
        return trials

    def _end(self, trial: Trial, state: TrialState, value: float | None) -> None:
        self._storage.set_trial_state_values(
            trial._trial_id, state, None if value is None else [value]
        )


class OpenTrial:
    """A trial that this process works on. A `with` statement keeps its claim alive."""

    def __init__(self, study: Study, number: int, trial: Trial, space: Space) -> None:
        self.number, self.seed = number, study.seed_of(number)
        self._study, self._trial = study, trial
        self._hold = Hold(study.claims, number)
        with quiet_optuna():
            self.settings: dict[str, Value] = space.drawn(trial)

    @property
    def lost(self) -> bool:
        """Whether another process has taken it over. Then nothing found here counts."""
        return self._hold.lost

    @property
    def reported(self) -> dict[int, float]:
        """Map each step to its value, from this process and from those before it."""
        return dict(self._study._storage.get_trial(self._trial._trial_id).intermediate_values)

    def report(self, step: int, value: float) -> bool:
        """Report a value. A step that was reported before keeps its value.

        Returns:
            whether to stop: it will not win, or another process has taken it over.
        """
        if not self._hold.is_mine():
            return True
        with quiet_optuna():
            if step not in self.reported:
                self._trial.report(value, step)
            return self._trial.should_prune()

    def finish(self, value: float, facts: Mapping[str, Any]) -> bool:
        """Record the end. False means that another process has taken it over: nothing is recorded."""
        return self._finish(TrialState.COMPLETE, value, facts)

    def stop(self, value: float | None, facts: Mapping[str, Any]) -> bool:
        """Record that it was stopped early, with its value at that time."""
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
        except UpdateFinishedTrialError:  # taken over and finished since `is_mine` was asked
            return False
        return True

    def __enter__(self) -> OpenTrial:
        self._hold.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hold.__exit__(*error)


@overload
def open_or_create(url: str, name: str, settings: StudySettings) -> Study: ...


@overload
def open_or_create(url: str, name: str, settings: None = None) -> Study | None: ...


def open_or_create(url: str, name: str, settings: StudySettings | None = None) -> Study | None:
    """Open a study; with settings, create it if the database does not hold it yet.

    Args:
        url: of the database, as SQLAlchemy takes it.
        name: of the study in it.
        settings: to start it with, or to check against those that it has. None takes its own.

    Returns:
        None if the study is not there and no settings are given.

    Raises:
        UserError: the database cannot be used.
        Refused: the study has other settings.
    """
    database = open_storage(url)
    try:
        settings = settings or _kept_settings(database, name)
        if settings is not None:
            return Study(database, name, settings)
    except BaseException:
        close_storage(database)
        raise
    close_storage(database)
    return None


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


def tenths_of(epoch: int, epochs: int) -> Sequence[int]:
    """The tenths of a training that end with an epoch.

    Trainings of different lengths are compared at equal tenths. The learning rate falls over the
    whole training, so half of it means the same at any length, and epoch 2 does not.

    >>> [list(tenths_of(epoch, 4)) for epoch in (1, 2, 3, 4)]
    [[1, 2], [3, 4, 5], [6, 7], [8, 9, 10]]
    """
    return range(10 * (epoch - 1) // epochs + 1, 10 * epoch // epochs + 1)


def _kept_settings(database: optuna.storages.RDBStorage, name: str) -> StudySettings | None:
    try:
        with quiet_optuna():
            attributes = database.get_study_user_attrs(database.get_study_id_from_name(name))
    except KeyError:
        return None
    # A process that was killed between the two has left a study without settings.
    return StudySettings(**attributes["settings"]) if "settings" in attributes else None

"""A study that processes share: its settings, its trials, and when one is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.studies import RECIPE, SPACE, settings_of
from tellapart.errors import Refused
from tellapart.experiments import claims
from tellapart.experiments import study as study_room
from tellapart.experiments.claims import Hold
from tellapart.experiments.database import database_of
from tellapart.experiments.space import Space, read_space
from tellapart.experiments.study import Study, open_or_create, tenths_of


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Study, Study, Space]]:
    """One study as two processes see it. A claim is stale as soon as it is seen twice without a
    beat.
    """
    monkeypatch.setattr(claims, "STALE_SECONDS", -1.0)
    space = read_space(SPACE, RECIPE, "space")
    study, other = (
        open_or_create(database_of(tmp_path), "study", settings_of(space)) for _ in range(2)
    )
    study.total = 3
    yield study, other, space
    study.close()
    other.close()


def test_a_study_is_opened_with_the_settings_that_it_was_started_with(tmp_path: Path):
    settings = settings_of(read_space(SPACE, RECIPE, "space"))
    assert open_or_create(database_of(tmp_path), "study") is None
    open_or_create(database_of(tmp_path), "study", settings).close()
    again = open_or_create(database_of(tmp_path), "study")
    assert again.settings == settings
    again.close()


def test_a_study_with_other_settings_is_refused(tmp_path: Path):
    settings = settings_of(read_space(SPACE, RECIPE, "space"))
    open_or_create(database_of(tmp_path), "study", settings).close()
    with pytest.raises(Refused, match="the metric is not the same"):
        open_or_create(database_of(tmp_path), "study", replace(settings, metric="accuracy"))


def test_two_processes_never_work_on_the_same_trial(shared: tuple[Study, Study, Space]):
    study, other, space = shared
    numbers = [process.take(space).number for process in (study, other, study)]
    assert sorted(numbers) == [0, 1, 2]
    assert len(study.rows()) == 3


def test_a_trial_that_was_left_behind_is_gone_on_with(shared: tuple[Study, Study, Space]):
    study, other, space = shared
    study.total = 1
    left = study.take(space)
    left.report(1, 0.5)
    assert other.take(space) is None  # the first look: it may be alive
    taken = other.take(space)
    assert (taken.number, taken.settings, taken.seed) == (left.number, left.settings, left.seed)
    assert taken.reported == {1: 0.5}
    assert taken.finish(0.2, {})
    assert not left.finish(0.9, {})  # what it found out too late changes nothing
    assert [(row.state, row.value) for row in study.rows()] == [("finished", 0.2)]
    assert study.is_over


def test_who_was_held_up_writes_nothing_to_the_trial_of_another(shared: tuple[Study, Study, Space]):
    study, other, space = shared
    study.total = 1
    left = study.take(space)
    assert other.take(space) is None
    taken = other.take(space)
    assert left.report(1, 0.9)  # it is to be stopped
    assert not left.fail("no memory", {"seconds": 9.0})
    assert taken.reported == {} and study.rows()[0].reason == ""
    assert taken.finish(0.2, {"seconds": 1.0})
    assert not left.finish(0.9, {"seconds": 9.0})
    assert (study.rows()[0].value, study.rows()[0].seconds) == (0.2, 1.0)


def test_a_trial_that_another_finished_since_the_question_is_lost(
    shared: tuple[Study, Study, Space], monkeypatch: pytest.MonkeyPatch
):
    study, other, space = shared
    study.total = 1
    left = study.take(space)
    assert other.take(space) is None
    assert other.take(space).finish(0.2, {})
    monkeypatch.setattr(Hold, "is_mine", lambda _: True)
    assert (
        not left.finish(0.9, {"seconds": 9.0})
        and not left.stop(None, {})
        and not left.fail("no memory", {})
    )


def test_a_number_that_was_claimed_but_has_no_trial_yet_gets_one(
    shared: tuple[Study, Study, Space],
):
    study, other, space = shared
    assert study.claims.take(0)  # and then it was killed
    assert [other.take(space).number for _ in range(3)] == [1, 0, 2]


def test_who_is_at_work_is_left_the_final_training(
    shared: tuple[Study, Study, Space], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(claims, "STALE_SECONDS", 10.0)
    monkeypatch.setattr(claims, "BEAT_SECONDS", 0.05)
    study, other, space = shared
    with other.take(space):
        assert study.others_work(0.01)
    assert not study.others_work(0.01)
    assert other.claims.take(study_room.FINAL)  # that is no trial
    assert not study.others_work(0.01)


def test_a_trial_is_stopped_when_it_is_behind_the_median_but_not_in_its_beginning(
    shared: tuple[Study, Study, Space],
):
    study, _, space = shared
    study.total = 5
    for _ in range(4):
        taken = study.take(space)
        assert not any(taken.report(tenth, 1.0) for tenth in range(1, 11))
        taken.finish(1.0, {})
    behind = study.take(space)
    assert [behind.report(tenth, 2.0) for tenth in (1, 2, 3)] == [False, False, True]


def test_a_training_of_any_length_ends_with_the_tenth_tenth():
    for epochs in range(1, 25):
        tenths = [tenth for epoch in range(1, epochs + 1) for tenth in tenths_of(epoch, epochs)]
        assert tenths == list(range(1, 11))


def test_an_equal_value_does_not_replace_the_first_best(shared: tuple[Study, Study, Space]):
    study, _, space = shared
    for value in (0.5, 0.2, 0.2):
        study.take(space).finish(value, {})
    assert study.best().number == 1

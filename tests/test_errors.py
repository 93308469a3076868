"""Errors say what is wrong, where, and what to do next; each kind has its exit code."""

import pytest

from tellapart import errors
from tellapart.errors import (
    Fault,
    InputsRejected,
    Interrupted,
    Refused,
    UserError,
    choose,
    needs_extra,
    require,
)


@pytest.mark.parametrize(
    ("kind", "code", "word"),
    [
        (Fault, 1, "fault"),
        (UserError, 2, "usage"),
        (InputsRejected, 3, "inputs_rejected"),
        (Interrupted, 4, "interrupted"),
        (Refused, 5, "refused"),
    ],
)
def test_every_error_has_its_exit_code_and_its_word(kind, code, word):
    error = kind("It is broken.", "Mend it.")
    assert (error.exit_code, error.kind) == (code, word)
    assert isinstance(error, UserError)


def test_no_two_errors_share_an_exit_code_or_a_word():
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, UserError)
    ]
    assert sorted(kind.exit_code for kind in kinds) == [1, 2, 3, 4, 5]
    assert len({kind.kind for kind in kinds}) == 5


def test_an_error_reads_as_message_and_hint():
    error = UserError("It is broken.", "Mend it.")
    assert (error.message, error.hint, str(error)) == (
        "It is broken.",
        "Mend it.",
        "It is broken. Mend it.",
    )
    assert str(UserError("It is broken.")) == "It is broken."


def test_a_right_choice_is_returned():
    assert choose("colour", "red", {"red", "blue"}) == "red"


def test_a_wrong_choice_names_the_nearest_and_all_the_others():
    with pytest.raises(
        UserError,
        match=r"Unknown colour 'rde'. Did you mean 'red'\? Choose one of: blue, green, red\.",
    ):
        choose("colour", "rde", ["red", "green", "blue"])


def test_a_choice_that_is_near_to_nothing_names_what_there_is():
    with pytest.raises(UserError, match=r"Unknown colour 'x'. Choose one of: blue, red\."):
        choose("colour", "x", ["red", "blue"])


def test_of_a_thousand_options_only_the_nearest_are_named():
    with pytest.raises(UserError) as wrong:
        choose("network", "resnet_18", [f"resnet{depth}" for depth in range(1000)])
    assert (
        wrong.value.hint
        == "Did you mean 'resnet18' or 'resnet918' or 'resnet818'? There are 1,000 to choose from."
    )


def test_of_a_thousand_options_far_from_the_choice_none_is_named():
    with pytest.raises(UserError) as wrong:
        choose("network", "x", [f"resnet{depth}" for depth in range(1000)])
    assert wrong.value.hint == "There are 1,000 to choose from."


def test_twenty_options_are_still_all_named():
    with pytest.raises(UserError, match=r"o00, .*, o19"):
        choose("option", "x", [f"o{number:02}" for number in range(20)])


def test_a_value_out_of_range_names_the_option_the_rule_and_how_to_set_it():
    with pytest.raises(
        UserError, match=r"head.folds must be 2 to 20, got 1. Set it with --set head.folds="
    ):
        require(False, "head.folds", 1, "must be 2 to 20")


def test_a_value_in_range_says_nothing():
    require(True, "head.folds", 5, "must be 2 to 20")


def test_a_missing_package_comes_with_the_command_that_installs_it():
    assert str(needs_extra("polars", "train")).endswith("Run: pip install 'tellapart[train]'")

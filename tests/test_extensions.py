"""The user's own parts, by name: what is checked of them, and what a run says of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tellapart.errors import UserError
from tellapart.extensions import Extensions, Network
from tellapart.options import AugmentationOptions, TrainingOptions
from tellapart.recipe import Recipe, recipe_from
from tellapart.recipe_files import load_recipe

NETWORK = Network(build=lambda: None, width=8)
ALL = Extensions(
    networks={"mine": NETWORK},
    losses={"focal": max},
    optimizers={"lion": max},
    schedules={"saw": max},
    transforms={"smear": max, "tint": max},
    metrics={"cost": max},
)
CHOSEN = {
    "backbone.name": "mine",
    "training.loss": "focal",
    "training.optimizer": "lion",
    "training.schedule": "saw",
    "augmentation.transforms": "tint,smear",
}


def test_importing_it_needs_no_torch():
    code = "import sys, tellapart.extensions; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_a_recipe_takes_the_names_of_the_parts_that_are_given():
    recipe = load_recipe("cifar10-cnn", CHOSEN, extensions=ALL)
    assert (recipe.training.loss, recipe.augmentation.transforms) == ("focal", ("tint", "smear"))
    with pytest.raises(UserError, match=r"Unknown value for training.loss: 'focal'"):
        load_recipe("cifar10-cnn", {"training.loss": "focal"})


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe(training=TrainingOptions(loss="focl")), "'focl'. Did you mean 'focal'"),
        (Recipe(training=TrainingOptions(optimizer="adan")), "'adan'. Did you mean 'adam'"),
        (Recipe(augmentation=AugmentationOptions(transforms=("tin",))), "'tin'. Did you mean 'tin"),
    ],
)
def test_a_recipe_in_hand_is_checked_for_names_before_any_work(recipe: Recipe, words: str):
    with pytest.raises(UserError, match=words):
        load_recipe(recipe, {"method": "fit"}, extensions=ALL)


def test_what_a_training_uses_is_recorded_by_kind():
    recipe = load_recipe("cifar10-cnn", CHOSEN, extensions=ALL)
    assert ALL.used_by(recipe) == {
        "networks": ["mine"],
        "losses": ["focal"],
        "optimizers": ["lion"],
        "schedules": ["saw"],
        "transforms": ["tint", "smear"],
        "metrics": ["cost"],
    }
    assert Extensions().used_by(recipe) == {}


def test_a_probe_uses_a_network_alone():
    recipe = recipe_from({"backbone.name": "mine"})
    assert ALL.used_by(recipe) == {"networks": ["mine"]}


def test_a_part_that_no_key_names_is_noted():
    assert Extensions(transforms={"tint": max}).unused_by(Recipe(method="fit")) == [
        "transforms={'tint': …} is not used, since augmentation.transforms is empty"
    ]


def test_parts_that_are_given_again_let_a_run_go_on():
    ALL.check_given({"losses": ["focal"], "transforms": ["tint"], "metrics": ["cost"]})


def test_all_parts_that_are_missing_are_named_at_once():
    with pytest.raises(UserError) as wrong:
        Extensions(losses={"focal": max}).check_given(
            {"losses": ["focal"], "transforms": ["tint", "smear"], "metrics": ["cost"]}
        )
    assert str(wrong.value) == (
        "This run uses transforms={'tint': …, 'smear': …} and metrics={'cost': …}. Pass them to"
        " train(resume=…) again; the command line cannot."
    )


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"losses": max}, "losses must be a mapping of names, got builtin_function_or_method"),
        ({"losses": {"bce": max}}, "losses has the name 'bce', which tellapart's own has"),
        ({"losses": {"a,b": max}}, "losses has the name 'a,b'"),
        ({"schedules": {3: max}}, "schedules has the name 3"),
        ({"transforms": {"tint": 3}}, "transforms={'tint': …} is a int"),
        ({"networks": {"mine": max}}, "networks={'mine': …} is a builtin_function_or_method"),
    ],
)
def test_what_is_no_part_is_refused_where_it_is_given(parts, words):
    with pytest.raises(UserError) as wrong:
        Extensions(**parts)
    assert words in wrong.value.message
    assert wrong.value.hint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"build": 3}, "Network.build must be an nn.Module or a function"),
        ({"width": 0}, "Network.width must be 1 or more, got 0"),
        ({"size_px": 16}, "Network.size_px must be 32 to 2,048, got 16"),
        ({"mean": (0.5,)}, "Network.mean must be three numbers"),
        ({"std": (0.5, 0.5, 0.0)}, "Network.std must be three numbers above 0"),
    ],
)
def test_a_network_is_checked_where_it_is_described(options, words):
    with pytest.raises(UserError) as wrong:
        Network(**{"build": max, "width": 8, **options})
    assert words in wrong.value.message

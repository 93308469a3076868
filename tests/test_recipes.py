"""The recipes that come with tellapart: what each is, and that it says what the tutorial says that
it stands for.
"""

import re

import pytest

from tellapart.cli.values import settings
from tellapart.datasets import DATASETS
from tellapart.errors import UserError
from tellapart.recipe import METHODS, Recipe, option_text, recipe_from, recipe_items, recipe_keys
from tellapart.recipe_files import load_recipe, recipe_names, recipe_text
from tellapart.recipe_keys import recipes

NAMES = recipe_names()

# The table of reference recipes: what is reported there must have been trained so.
TABLE = {
    "cifar10-lenet": (
        "method=fit dataset=cifar10 split.val=0 backbone.name=lenet backbone.pretrained=false"
        " preprocessing.size_px=32 preprocessing.mean=0.5,0.5,0.5 preprocessing.std=0.5,0.5,0.5"
        " training.optimizer=sgd training.lr=0.001 training.momentum=0.9 training.batch_size=4"
        " training.epochs=2 training.schedule=constant training.loss=cross_entropy"
        " training.print_every=2000"
    ),
    "cifar10-cnn": (
        "method=fit dataset=cifar10 split.val=0.1 backbone.name=cnn backbone.pretrained=false"
        " preprocessing.size_px=32 preprocessing.mean=0.5,0.5,0.5 preprocessing.std=0.5,0.5,0.5"
        " training.optimizer=adam training.lr=0.001 training.weight_decay=0.0001"
        " training.batch_size=10 training.epochs=5 training.schedule=constant"
        " training.monitor=accuracy training.print_every=1000"
    ),
    "tiny-imagenet-efficientnet": (
        "method=fit dataset=tiny-imagenet backbone.name=efficientnet_b3.ra2_in1k"
        " backbone.pretrained=true preprocessing.mode=crop preprocessing.size_px=224"
        " augmentation.flip=0.5 preprocessing.mean=0.485,0.456,0.406"
        " preprocessing.std=0.229,0.224,0.225 training.batch_size=64 training.lr=0.001"
        " training.epochs=3 training.evaluate_train=true training.monitor=accuracy"
        " training.loss=cross_entropy"
    ),
    "finetune-kfold": (
        "method=fit dataset=none seed=42 split.test=0.1 backbone.name=resnet18"
        " preprocessing.mode=squash preprocessing.size_px=256 preprocessing.filter=bilinear"
        " preprocessing.mean=0,0,0 preprocessing.std=1,1,1 augmentation.rotate=0.6"
        " augmentation.rotate_degrees=45 augmentation.border=reflect augmentation.flip=0.6"
        " augmentation.dropout=0.3 augmentation.dropout_holes=1 augmentation.dropout_px=64"
        " training.optimizer=adam training.lr=0.0001 training.schedule=cosine"
        " training.lr_end=0.00001 training.batch_size=32 training.epochs=5"
        " training.loss=cross_entropy"
    ),
    "transfer-frozen-head": (
        "method=fit backbone.name=resnet50.tv_in1k freeze.upto=all freeze.batch_norm=false"
        " freeze.unfreeze=2:84%,4:all head.hidden=256,32 head.logits=one training.loss=bce"
        " training.optimizer=adam training.lr=0.001 training.schedule=multi_step"
        " training.milestones=2,4 training.gamma=0.1 training.batch_size=8 training.epochs=3"
        " preprocessing.mode=squash preprocessing.size_px=224 preprocessing.mean=0.485,0.456,0.406"
        " preprocessing.std=0.229,0.224,0.225 augmentation.flip=0.5"
    ),
}


def test_the_recipes_are_the_tables_and_the_products_own():
    assert sorted(NAMES) == sorted([*TABLE, "probe", "finetune"])


@pytest.mark.parametrize("name", TABLE)
def test_a_reference_recipe_says_what_the_table_says(name):
    items = dict(recipe_items(load_recipe(name)))
    wanted = recipe_from(settings(TABLE[name].split()))
    assert {key: items[key] for key in settings(TABLE[name].split())} == {
        key: value for key, value in recipe_items(wanted) if key in settings(TABLE[name].split())
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_named_as_its_file_and_begins_with_what_it_is_and_its_command(name):
    lines = recipe_text(name).splitlines()
    assert load_recipe(name).name == name
    assert lines[0].startswith("# ")
    assert lines[0].endswith(".")
    assert any(line.startswith("#   tellapart train ") for line in lines)
    assert all(len(line) <= 120 for line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipes_data_set_is_one_that_can_be_fetched(name):
    dataset = load_recipe(name).dataset
    assert dataset is None or dataset in DATASETS


def test_the_probe_is_what_there_is_without_any_change():
    assert load_recipe("probe") == Recipe()


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_can_be_changed_by_a_key_it_does_not_name(name):
    assert load_recipe(name, {"answer.target_accuracy": "0.8"}).answer.target_accuracy == 0.8


# ── their listing ──


SENTENCES = re.compile(r"[A-Z0-9].{10,200}\.")


def test_every_key_is_listed_with_a_sentence_that_says_what_it_means():
    listed = {key.name: key for method in METHODS for key in recipes(NAME_OF[method])}
    assert sorted(listed) == sorted(recipe_keys())
    assert {key.name for key in listed.values() if not SENTENCES.fullmatch(key.help)} == set()


NAME_OF = {"probe": "probe", "fit": "cifar10-cnn", "finetune": "finetune"}


def test_a_listed_key_has_its_value_its_default_and_what_it_takes():
    key = next(key for key in recipes("cifar10-lenet") if key.name == "training.optimizer")
    assert (key.value, key.default, key.takes) == ("sgd", "adamw", "sgd, adam, adamw")
    assert key.help.startswith("The optimizer. adamw keeps weight decay apart from the gradient")


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("seed", "whole number"),
        ("training.lr", "number"),
        ("training.threads", "whole number, none"),
        ("training.evaluate_train", "true, false"),
        ("preprocessing.filter", "bicubic, bilinear, none"),
        ("preprocessing.mean", "list of numbers, none"),
        ("freeze.unfreeze", "list of texts"),
        ("augmentation.transforms", "list of names"),
    ],
)
def test_what_a_key_takes_is_said_in_words(name, takes):
    assert {key.name: key.takes for key in recipes("cifar10-cnn")}[name] == takes


def test_only_the_keys_that_the_method_reads_are_listed():
    names = {key.name for key in recipes("probe")}
    assert "head.c_values" in names
    assert not any(name.startswith(("training.", "freeze.", "augmentation.")) for name in names)


@pytest.mark.parametrize("name", NAMES)
def test_a_listed_value_can_be_given_back_as_it_is_shown(name):
    shown = {key.name: option_text(key.value) for key in recipes(name)}
    assert recipe_from(shown) == load_recipe(name)


def test_a_recipe_of_the_users_own_is_listed_too(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\nmethod: fit\ntraining: {epochs: 3}\n")
    listed = {key.name: key.value for key in recipes(str(tmp_path / "mine.yaml"))}
    assert (listed["name"], listed["training.epochs"]) == ("mine", 3)


def test_every_recipe_has_a_title():
    assert [recipe.name for recipe in recipes()] == NAMES
    assert all(recipe.title[0].isupper() and recipe.title.endswith(".") for recipe in recipes())


def test_a_misspelt_recipe_is_answered_with_the_nearest():
    with pytest.raises(
        UserError, match=r"Unknown recipe 'cifar10-lennet'. Did you mean 'cifar10-lenet'\?"
    ):
        recipes("cifar10-lennet")

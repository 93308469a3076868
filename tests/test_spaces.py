"""What may be searched: space files are typed and checked at birth, and the default spaces fit
their recipes.
"""

from __future__ import annotations

import pytest

from tellapart.errors import UserError
from tellapart.experiments import default_spaces
from tellapart.experiments.default_spaces import default_space, space_text
from tellapart.experiments.space import Space, fitting_space, read_space, space_from
from tellapart.recipe import recipe_from, recipe_items
from tellapart.recipe_files import load_recipe, recipe_names

LENET = load_recipe("cifar10-lenet")


def space_of(text: str, recipe: str = "cifar10-lenet") -> Space:
    return read_space(text, load_recipe(recipe), "mine.yaml")


class Lowest:
    """Draws the first choice, or the low end."""

    def suggest_categorical(self, key: str, choices: tuple[object, ...]) -> object:
        return choices[0]

    def suggest_int(self, key: str, low: int, high: int, **_: object) -> int:
        return low

    def suggest_float(self, key: str, low: float, high: float, **_: object) -> float:
        return low


def test_numbers_that_yaml_takes_for_text_are_numbers():
    (rate,) = space_of("training.lr: {low: 1e-4, high: 1e-2, log: true}").parameters
    assert (rate.low, rate.high, rate.log, rate.whole) == (1e-4, 1e-2, True, False)


def test_keys_may_be_nested_as_in_a_recipe():
    space = space_of("training:\n  epochs: {low: 2, high: 10, step: 2}\n  lr: [0.001, 0.01]")
    assert space.keys == ["training.epochs", "training.lr"]
    assert space.parameters[0].whole


def test_choices_get_the_type_of_their_key():
    assert space_of("training.lr: [1, 1e-3]").parameters[0].choices == (1.0, 0.001)
    assert space_of("head.hidden: [[], [256, 32]]").parameters[0].choices == ("", "256,32")
    assert space_of("preprocessing.size_px: [null, 64]").parameters[0].choices == (None, 64)


def test_a_list_that_was_drawn_is_a_list_in_the_recipe():
    assert space_of("head.hidden: [[256, 32]]").recipe({"head.hidden": "256,32"}).head.hidden == (
        256,
        32,
    )
    assert space_of("head.hidden: [[], [8]]").recipe({"head.hidden": ""}).head.hidden == ()


def test_a_condition_decides_whether_a_key_counts():
    space = space_of(
        "training.momentum: {choices: [0.8, 0.9], when: {training.optimizer:"
        " sgd}}\ntraining.optimizer: [adam, sgd]"
    )
    assert space.keys == ["training.optimizer", "training.momentum"]
    assert space.drawn(Lowest()) == {"training.optimizer": "adam"}


def test_a_key_that_does_not_count_has_its_plain_default():
    space = space_of(
        "training.optimizer: [adam, sgd]\ntraining.momentum: {choices: [0.8], when:"
        " {training.optimizer: sgd}}"
    )
    assert LENET.training.momentum == 0.9
    assert space.recipe({"training.optimizer": "adam"}).training.momentum is None


def test_a_condition_may_be_on_a_key_that_is_not_searched():
    space = space_of("training.momentum: {choices: [0.8], when: {training.optimizer: [sgd]}}")
    assert space.drawn(Lowest()) == {"training.momentum": 0.8}


def test_the_own_settings_are_those_that_lie_in_the_space():
    space = space_of(
        "training.lr: {low: 1e-2, high: 1}\ntraining.epochs: {low: 1, high:"
        " 5}\ntraining.batch_size: [4, 8]"
    )
    assert space.own() == {"training.epochs": 2, "training.batch_size": 4}


def test_a_range_with_steps_holds_only_its_steps():
    (size,) = space_of("preprocessing.size_px: {low: 128, high: 1024, step: 32}").parameters
    assert size.holds(160) and size.holds(1024)
    assert not size.holds(150) and not size.holds(96) and not size.holds(None)


def test_a_space_survives_json():
    space = space_of(space_text("cifar10-lenet"))
    assert space_from(space.as_json(), LENET, "again").parameters == space.parameters


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training.lrr: [1]", "mine.yaml: Unknown recipe key 'training.lrr'"),
        (
            "training.lr: 0.1",
            "mine.yaml: training.lr must be a list of choices or a range, got 0.1",
        ),
        ("training.lr: []", "must be a list of choices"),
        ("training.lr: [fast]", "mine.yaml: training.lr must be a number, got 'fast'"),
        ("training.lr: [0.1, 0.1]", "training.lr names a choice twice"),
        ("training.lr: {low: 0.1}", "training.lr needs a number for high, got None"),
        ("training.lr: {low: 1, high: 0.1}", "training.lr goes from 1 down to 0.1"),
        ("training.lr: {low: 0, high: 1, log: true}", "a log range that does not begin above 0"),
        ("training.lr: {low: 0, high: 1, log: 7}", "neither true nor false"),
        ("training.lr: {low: 1, high: 2, log: true, step: 1}", "both log and step"),
        ("training.lr: {low: 1, high: 2, step: -1}", "a step that is not above 0"),
        ("training.lr: {low: 1, high: 2, base: 3}", "has 'base', which means nothing there"),
        (
            "training.epochs: {low: 1.5, high: 3}",
            "training.epochs needs a whole number for low, got 1.5",
        ),
        ("training.optimizer: {low: 1, high: 3}", "training.optimizer takes no range"),
        ("training.optimizer: [adam, lion]", "Unknown value for training.optimizer: 'lion'"),
        (
            "training.epochs: {low: 0, high: 3}",
            "mine.yaml: training.epochs: training.epochs must be 1 to 100,000, got 0",
        ),
        (
            "training.gamma: [0.1]",
            "mine.yaml: training.gamma: training.gamma goes with training.schedule=multi_step",
        ),
        ("augmentation.invariant: [true]", "augmentation.invariant goes with method=finetune"),
        ("seed: [1, 2]", "seed decides what is measured"),
        ("split.val: [0.1, 0.2]", "split.val decides what is measured"),
        ("training.lr: {choices: [1], when: sgd}", "has a when that is 'sgd'"),
        ("training.lr: {choices: [1], when: {training.x: 1}}", "Unknown recipe key 'training.x'"),
        (
            (
                "training.optimizer: [sgd]\ntraining.lr: {choices: [1], when: {training.optimizer:"
                " adam}}"
            ),
            "never has",
        ),
        (
            (
                "training.lr: {choices: [1], when: {training.epochs: 2}}\n"
                "training.epochs: {choices: [2], when: {training.lr: 1}}"
            ),
            "conditions that form a circle",
        ),
        ("- a", "mine.yaml holds no keys"),
        ("a: [", "mine.yaml, line 1 is not YAML"),
    ],
)
def test_a_wrong_space_is_refused_with_file_and_key(text: str, words: str):
    with pytest.raises(UserError) as error:
        space_of(text)
    assert words in str(error.value)


@pytest.mark.parametrize("name", [*recipe_names(), "fit"])
def test_every_recipe_has_a_space_that_fits_it(name: str):
    recipe = recipe_from({"method": "fit"}) if name == "fit" else load_recipe(name)
    space = read_space(space_text(name), recipe, name)
    own = dict(recipe_items(space.recipe(space.own())))
    assert own == dict(recipe_items(recipe))


def test_the_space_of_finetune_kfold_is_the_tutorial_s():
    of = {
        one.key: one for one in space_of(space_text("finetune-kfold"), "finetune-kfold").parameters
    }
    assert (of["training.epochs"].low, of["training.epochs"].high) == (2, 10)
    assert (of["training.lr"].low, of["training.lr"].high, of["training.lr"].log) == (
        1e-4,
        1e-3,
        True,
    )
    sizes = of["preprocessing.size_px"].choices
    assert (min(sizes), max(sizes)) == (128, 1024)
    for family in ("resnet", "densenet", "efficientnet"):
        assert any(family in name for name in of["backbone.name"].choices)


def test_backbones_whose_weights_are_not_here_are_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(default_spaces, "weights_are_here", lambda name: name == "resnet18")
    space, left_out = default_space(load_recipe("finetune-kfold"))
    assert space.parameters[0].choices == ("resnet18",)
    assert "densenet121" in left_out and "resnet18" not in left_out


def test_without_any_weights_the_backbone_is_not_searched(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(default_spaces, "weights_are_here", lambda name: False)
    assert "backbone.name" not in default_space(load_recipe("probe"))[0].keys


def test_what_the_user_has_set_is_not_searched():
    space, _ = default_space(
        load_recipe("cifar10-lenet", {"training.epochs": 3}), {"training.epochs"}
    )
    assert "training.epochs" not in space.keys
    assert space.recipe(space.own()).training.epochs == 3


@pytest.mark.parametrize(
    ("recipe", "fixed", "gone"),
    [
        ("probe", {"preprocessing.share": 0.8}, {"preprocessing.mode"}),
        ("probe", {"preprocessing.mode": "squash"}, {"preprocessing.share"}),
        ("cifar10-lenet", {"training.optimizer": "adam", "training.momentum": None}, set()),
        ("cifar10-lenet", {"training.optimizer": "adamw", "training.momentum": None}, set()),
        ("cifar10-cnn", {"training.optimizer": "adamw"}, {"training.momentum"}),
        ("finetune", {"freeze.upto": "all"}, {"training.backbone_lr"}),
    ],
)
def test_what_does_not_go_with_what_the_user_has_set_is_not_searched(
    recipe: str, fixed: dict[str, object], gone: set[str]
):
    space, _ = default_space(load_recipe(recipe, fixed), fixed)
    assert set(space.keys) == set(default_space(load_recipe(recipe))[0].keys) - fixed.keys() - gone
    for parameter in space.parameters:
        for value in parameter.choices:
            space.recipe({parameter.key: value})
    assert space_from(space.as_json(), space.base, "again").parameters == space.parameters


def test_only_the_choices_that_go_with_what_is_fixed_are_searched():
    text = (
        "training.optimizer: [adam, adamw, sgd]\ntraining.schedule: [constant, cosine, multi_step]"
    )
    space = fitting_space(text, load_recipe("cifar10-lenet"), "mine.yaml", {"training.momentum"})
    assert [(one.key, one.choices) for one in space.parameters] == [
        ("training.schedule", ("constant", "cosine"))
    ]


def test_a_range_that_goes_with_what_is_fixed_at_one_end_only_is_refused():
    recipe = load_recipe("cifar10-lenet", {"training.schedule": "cosine", "training.lr_end": 1e-3})
    with pytest.raises(
        UserError, match=r"cifar10-lenet.yaml: training.lr: training.lr_end must be in"
    ):
        default_space(recipe, {"training.schedule", "training.lr_end"})


def test_a_recipe_of_the_user_s_has_the_space_of_its_method():
    space, _ = default_space(recipe_from({"name": "mine"}, LENET))
    assert "training.weight_decay" in space.keys


def test_packaged_weights_are_here_and_those_of_the_hub_only_once_they_were_fetched(
    monkeypatch: pytest.MonkeyPatch,
):
    assert default_spaces.weights_are_here("tf_efficientnet_lite0")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    assert not default_spaces.weights_are_here("resnet18")
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache", lambda *_: "/cache/model.safetensors"
    )
    assert default_spaces.weights_are_here("resnet18")

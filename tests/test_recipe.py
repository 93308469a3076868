"""The one list of options: typed, checked at birth, spelled the same in YAML, on the command line
and in Python.
"""

import ast
import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tellapart
from tellapart import recipe as recipes
from tellapart.errors import UserError
from tellapart.recipe import METHODS, Recipe, methods_of, recipe_from, recipe_keys, recipe_values
from tellapart.recipe_files import load_recipe

PACKAGE = Path(tellapart.__file__).parent
ANOTHER = {  # for every key, a value that is not the default
    "name": "mine",
    "seed": 7,
    "data.columns": ["path=Image File", "label=dx"],
    "data.label_by": "name:^([a-z]+)",
    "data.crops": True,
    "data.fixes": "fixes.jsonl",
    "split.val": 0.2,
    "split.test": 0.3,
    "split.group_by": "name:^([a-z]+),",
    "split.copies": "exact",
    "method": "finetune",
    "dataset": "cifar10",
    "backbone.name": "resnet18",
    "backbone.precision": "fp32",
    "backbone.pretrained": False,
    "backbone.weights": "weights.safetensors",
    "preprocessing.mode": "pad",
    "preprocessing.share": 0.5,
    "preprocessing.size_px": 64,
    "preprocessing.filter": "bilinear",
    "preprocessing.mean": [0.5, 0.4, 0.3],
    "preprocessing.std": [0.2, 0.3, 0.4],
    "preprocessing.grey": True,
    "head.folds": 3,
    "head.c_values": [0.5, 2.0],
    "head.weighting": "balanced",
    "head.hidden": [256, 32],
    "head.logits": "one",
    "training.epochs": 3,
    "training.batch_size": 64,
    "training.accumulation": 4,
    "training.sampling": "weighted",
    "training.weight_column": "often",
    "training.loss": "bce",
    "training.decay_norms": False,
    "training.ema": 0.998,
    "training.keep": "last",
    "training.label_smoothing": 0.1,
    "training.optimizer": "sgd",
    "training.lr": 0.01,
    "training.backbone_lr": 0.1,
    "training.layer_decay": 0.9,
    "training.momentum": 0.5,
    "training.weight_decay": 0.05,
    "training.schedule": "one_cycle",
    "training.warmup_steps": 10,
    "training.lr_end": 1e-5,
    "training.milestones": [2, 4],
    "training.gamma": 0.5,
    "training.freeze_batch_norm": True,
    "training.clip_norm": 1.0,
    "training.precision": "bf16",
    "training.monitor": "accuracy",
    "training.patience": 2,
    "training.evaluate_train": True,
    "training.budget_minutes": 20.0,
    "training.print_every": 100,
    "training.checkpoint_seconds": 5.0,
    "training.trackers": ["tensorboard", "wandb"],
    "training.threads": 1,
    "training.memory_format": "channels_last",
    "training.memory_share": 0.1,
    "freeze.upto": "layer2",
    "freeze.batch_norm": False,
    "freeze.unfreeze": ["2:layer3", "4:all"],
    "freeze.views": 4,
    "augmentation.invariant": True,
    "augmentation.crop_area": 0.5,
    "augmentation.shift_px": 4,
    "augmentation.flip": 0.5,
    "augmentation.flip_vertical": 0.5,
    "augmentation.quarter_turn": 0.5,
    "augmentation.rotate": 0.6,
    "augmentation.rotate_degrees": 30.0,
    "augmentation.border": "fill",
    "augmentation.brightness": 0.2,
    "augmentation.contrast": 0.2,
    "augmentation.saturation": 0.2,
    "augmentation.hue": 0.1,
    "augmentation.policy": "trivial",
    "augmentation.dropout": 0.3,
    "augmentation.dropout_holes": 2,
    "augmentation.dropout_px": 32,
    "augmentation.erase": 0.25,
    "augmentation.transforms": ["smear", "tint"],
    "augmentation.mixup": 0.2,
    "augmentation.cutmix": 1.0,
    "answer.target_accuracy": 0.9,
    "answer.familiar_share": 0.95,
    "answer.leave_one_class_out": "never",
    "answer.costs": ["wrong=10", "unanswered=1"],
    "decoding.max_pixels": 10_000,
    "decoding.colour": "ignore",
    "decoding.value_range": [0.0, 4095.0],
    "decoding.lost_share": 0.05,
}
SUPPLIED = {"augmentation.transforms": ["smear", "tint"]}  # names of the user's own parts
COMPANIONS = {  # for some keys, what must be set with them
    "head.logits": {"training.loss": "bce"},
    "training.sampling": {"training.weight_column": "often"},
    "training.weight_column": {"training.sampling": "weighted"},
    "training.momentum": {"training.optimizer": "sgd"},
    "training.milestones": {"training.schedule": "multi_step"},
    "training.gamma": {"training.schedule": "multi_step", "training.milestones": [1]},
    "freeze.batch_norm": {"freeze.upto": "all"},
    "freeze.unfreeze": {"freeze.upto": "all"},
    "freeze.views": {"freeze.upto": "all"},
}
CONTRADICTED = {  # by other values of ANOTHER
    "preprocessing.share",
    "backbone.weights",
    "training.label_smoothing",
    "training.warmup_steps",
    "training.lr_end",
    "training.milestones",
    "training.gamma",
    "freeze.views",
}


def with_companions(key, value):
    return {**COMPANIONS.get(key, {}), key: value}


def value_of(recipe, key):
    for name in key.split("."):
        recipe = getattr(recipe, name)
    return list(recipe) if isinstance(recipe, tuple) else recipe


def options(kind=Recipe):
    """Every dataclass of options, Recipe first."""
    inner = [getattr(kind(), field.name) for field in dataclasses.fields(kind)]
    return [kind, *(type(value) for value in inner if dataclasses.is_dataclass(value))]


# ── every option ──


def test_every_field_is_a_key():
    fields = sum(len(dataclasses.fields(kind)) for kind in options())
    assert len(recipe_keys()) == fields - len(options()) + 1
    assert sorted(recipe_keys()) == sorted(ANOTHER)


@pytest.mark.parametrize("key", recipe_keys())
def test_every_key_changes_its_own_field_and_no_other(key):
    changed = recipe_from(with_companions(key, ANOTHER[key]), supplied=SUPPLIED)
    assert value_of(changed, key) == ANOTHER[key] != value_of(Recipe(), key)
    before = {name: value_of(Recipe(), name) for name in with_companions(key, None)}
    assert recipe_from(before, changed) == Recipe()


@pytest.mark.parametrize("key", recipe_keys())
def test_every_key_takes_its_value_as_text_too(key):
    text = ",".join(map(str, ANOTHER[key])) if isinstance(ANOTHER[key], list) else str(ANOTHER[key])
    by_text = recipe_from(with_companions(key, text), supplied=SUPPLIED)
    assert by_text == recipe_from(with_companions(key, ANOTHER[key]), supplied=SUPPLIED)


def test_every_option_is_read_somewhere():
    declared = (PACKAGE / "recipe.py", PACKAGE / "options.py")
    nodes = [
        node
        for path in PACKAGE.rglob("*.py")
        if path not in declared
        for node in ast.walk(_tree(path))
    ]
    read = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    assert {field.name for kind in options() for field in dataclasses.fields(kind)} - read == set()


def _tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def test_a_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().seed = 1


# ── to plain values and back ──


def test_a_recipe_comes_back_from_its_values():
    values = {key: value for key, value in ANOTHER.items() if key not in CONTRADICTED}
    recipe = recipe_from(values, supplied=SUPPLIED)
    assert recipe_from(recipe_values(recipe), supplied=SUPPLIED) == recipe


def test_the_values_are_plain_json():
    assert json.loads(json.dumps(recipe_values(Recipe()))) == recipe_values(Recipe())


def test_nested_and_dotted_keys_mean_the_same():
    assert recipe_from({"head": {"folds": 3, "weighting": "balanced"}}) == recipe_from(
        {"head.folds": 3, "head.weighting": "balanced"}
    )


def test_changes_keep_the_rest_of_the_base():
    base = recipe_from({"seed": 3, "head.folds": 4})
    assert recipe_from({"head.weighting": "balanced"}, base).head.folds == 4
    assert recipe_from({}, base) == base


@given(st.permutations(["split.val", "split.test"]))
def test_values_that_fit_together_are_taken_in_any_order(order):
    values = {"split.val": 0.05, "split.test": 0.9}
    split = recipe_from(
        {key: values[key] for key in order}, recipe_from({"split.val": 0.9, "split.test": 0.05})
    ).split
    assert (split.val, split.test) == (0.05, 0.9)


@pytest.mark.parametrize("nothing", [None, "none", "null", ""])
def test_an_option_that_may_be_unset_is_unset_by_none(nothing):
    base = recipe_from({"backbone.weights": "x.pth"})
    assert recipe_from({"backbone.weights": nothing}, base).backbone.weights is None


@pytest.mark.parametrize(
    "form",
    [
        "column:patient",
        "column: Patient ",
        "folder",
        "folder:1",
        "folder:12",
        "name:^[^_]+",
        "name:(?P<group>p\\d+)",
        "burst",
    ],
)
def test_every_form_of_grouping_is_taken_as_it_is_written(form):
    assert recipe_from({"split.group_by": form}).split.group_by == form


@pytest.mark.parametrize("rule", ["name", "name:", "name:(", "name:^[a-z]+", "name:(a)(b)", "word"])
def test_a_rule_for_labels_that_names_none_is_refused(rule):
    with pytest.raises(UserError, match=r"data\.label_by.* must be folder, .*name:REGEX"):
        recipe_from({"data.label_by": rule})


@pytest.mark.parametrize("pair", ["path", "path=", "colour=x"])
def test_a_column_that_nothing_is_named_for_is_refused(pair):
    with pytest.raises(UserError, match=r"data\.columns"):
        recipe_from({"data.columns": [pair]})


def test_a_bare_off_in_a_file_is_the_word_although_yaml_reads_it_as_false(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("split:\n  copies: off\n")
    assert load_recipe(str(file)).split.copies == "off"


@pytest.mark.parametrize(
    ("form", "column"),
    [("column:a:b", "a:b"), ("column: x", " x"), ("folder:2", None), ("name:column:x", None)],
)
def test_the_column_to_group_by_is_known_before_the_table_is_read(form, column):
    assert recipe_from({"split.group_by": form}).split.group_column == column
    assert Recipe().split.group_column is None


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("training.loss", "focal"),
        ("training.optimizer", "lion"),
        ("training.schedule", "saw"),
        ("augmentation.transforms", "smear,tint"),
    ],
)
def test_a_name_of_the_users_own_part_is_taken_where_it_is_supplied(key, name):
    supplied = {key: name.split(",")}
    recipe = recipe_from({key: name}, supplied=supplied)
    assert recipe_from({"seed": 1, key: name}, recipe) == recipe_from({"seed": 1}, recipe)
    with pytest.raises(UserError, match=f"Unknown value for {key}: '{name.split(',')[0]}'"):
        recipe_from({key: name})


def test_a_misspelt_name_of_the_users_own_part_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"'focl'. Did you mean 'focal'\?"):
        recipe_from({"training.loss": "focl"}, supplied={"training.loss": ["focal"]})


@pytest.mark.parametrize(
    ("method", "by_gradient", "starts_at_probe"),
    [("probe", False, True), ("fit", True, False), ("finetune", True, True)],
)
def test_a_recipe_says_how_it_learns(method, by_gradient, starts_at_probe):
    recipe = Recipe(method=method)
    assert (recipe.by_gradient, recipe.starts_at_probe) == (by_gradient, starts_at_probe)


# ── what is refused ──


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("head.fold", "head.folds"),
        ("sed", "seed"),
        ("split.vall", "split.val"),
        ("bakcbone.name", "backbone.name"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(key, nearest):
    with pytest.raises(
        UserError, match=rf"Unknown recipe key '{key}'. Did you mean '{nearest}'( or '.*')?\?"
    ):
        recipe_from({key: 1})


@pytest.mark.parametrize(
    "values", [{"head": 3}, {"seed.x": 1}, {"seed": {"x": 1}}, {"": 1}, {"head.": 1}, {3: 1}]
)
def test_a_key_that_goes_not_far_enough_or_too_far_is_refused(values):
    with pytest.raises(UserError, match="Unknown recipe key"):
        recipe_from(values)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("seed", "many", "seed must be a whole number, got 'many'"),
        ("seed", 1.5, "seed must be a whole number, got 1.5"),
        ("seed", "1.5", "seed must be a whole number"),
        ("seed", True, "seed must be a whole number, got True"),
        ("seed", None, "seed must be a whole number, got None"),
        ("seed", float("inf"), "seed must be a whole number, got inf"),
        ("seed", [1], "seed must be a whole number"),
        ("split.val", "a lot", "split.val must be a number, got 'a lot'"),
        ("split.val", "nan", "split.val must be a number, got 'nan'"),
        ("head.c_values", "1,inf", "head.c_values must be a number, got 'inf'"),
        ("head.c_values", 3, "head.c_values must be a list, got 3"),
        ("head.c_values", "1,x", "head.c_values must be a number, got 'x'"),
        ("backbone.name", 18, "backbone.name must be text, got 18"),
        (
            "preprocessing.mode",
            "crp",
            "Unknown value for preprocessing.mode: 'crp'. Did you mean 'crop'",
        ),
        ("preprocessing.share", "half", "preprocessing.share must be a number"),
        (
            "preprocessing.filter",
            "cubic",
            "Unknown value for preprocessing.filter: 'cubic'. Did you mean 'bicubic'",
        ),
        (
            "training.evaluate_train",
            "yes",
            "training.evaluate_train must be true or false, got 'yes'",
        ),
        ("training.evaluate_train", 1, "training.evaluate_train must be true or false, got 1"),
        (
            "training.evaluate_train",
            None,
            "training.evaluate_train must be true or false, got None",
        ),
        ("training.milestones", "2,x", "training.milestones must be a whole number, got 'x'"),
        ("training.trackers", [1], "training.trackers must be text, got 1"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_with_the_right_one(key, value, words):
    with pytest.raises(UserError) as wrong:
        recipe_from({key: value})
    assert words in str(wrong.value)
    assert wrong.value.hint


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"seed": -1}, "seed must be 0 to 2^63 - 1"),
        ({"seed": 2**63}, "seed must be 0 to 2^63 - 1"),
        ({"split.val": 1}, "split.val must be in [0, 1)"),
        ({"split.test": 1}, "split.test must be in [0, 1)"),
        (
            {"split.val": 0.5, "split.test": 0.5},
            "split.val plus split.test must leave something to train on",
        ),
        ({"backbone.name": " "}, "backbone.name must be the name of a timm network"),
        ({"preprocessing.share": 1.1}, "preprocessing.share must be in [0.1, 1]"),
        (
            {"preprocessing.share": 0.5, "preprocessing.mode": "pad"},
            "preprocessing.share goes with preprocessing.mode=crop only",
        ),
        ({"preprocessing.size_px": 31}, "preprocessing.size_px must be 32 to 2,048"),
        ({"head.folds": 1}, "head.folds must be 2 to 20"),
        ({"head.c_values": []}, "head.c_values must name at least one"),
        ({"head.c_values": [0.1, 0]}, "head.c_values must be above 0"),
        ({"answer.target_accuracy": 1}, "answer.target_accuracy must be in [0.5, 1)"),
        ({"answer.familiar_share": 0.4}, "answer.familiar_share must be in [0.5, 1]"),
        ({"decoding.max_pixels": 0}, "decoding.max_pixels must be 1 to 2,147,483,648"),
        (
            {"decoding.value_range": [9, 1]},
            "decoding.value_range must be two numbers, the smaller first",
        ),
        ({"decoding.lost_share": 2}, "decoding.lost_share must be in [0, 1]"),
        (
            {"backbone.pretrained": False, "backbone.weights": "x.pth"},
            "backbone.weights goes with backbone.pretrained=true",
        ),
        ({"preprocessing.mean": [0.5]}, "preprocessing.mean must be three numbers"),
        ({"preprocessing.std": [0.5, 0.5, 0]}, "preprocessing.std must be above 0"),
        ({"head.hidden": [0]}, "head.hidden must be widths from 1 to 65,536"),
        ({"head.logits": "one"}, "head.logits needs training.loss=bce"),
        ({"training.epochs": 0}, "training.epochs must be 1 to 100,000"),
        ({"training.epochs": 100_001}, "training.epochs must be 1 to 100,000"),
        ({"training.batch_size": 0}, "training.batch_size must be 1 to 1,048,576"),
        ({"training.batch_size": 2**21}, "training.batch_size must be 1 to 1,048,576"),
        ({"training.accumulation": 33}, "training.accumulation must be 1 to training.batch_size"),
        ({"training.sampling": "weighted"}, "training.sampling needs training.weight_column"),
        (
            {"training.weight_column": "often"},
            "training.weight_column goes with training.sampling=weighted only",
        ),
        ({"training.ema": 1}, "training.ema must be in [0, 1)"),
        ({"training.label_smoothing": 1}, "training.label_smoothing must be in [0, 1)"),
        (
            {"training.label_smoothing": 0.1, "training.loss": "bce"},
            "training.label_smoothing goes with training.loss=cross_entropy only",
        ),
        ({"training.lr": 0}, "training.lr must be above 0"),
        ({"training.backbone_lr": 0}, "training.backbone_lr must be above 0"),
        ({"training.layer_decay": 1.1}, "training.layer_decay must be in (0, 1]"),
        (
            {"training.momentum": 1, "training.optimizer": "sgd"},
            "training.momentum must be in [0, 1)",
        ),
        ({"training.momentum": 0.9}, "training.momentum goes with training.optimizer=sgd only"),
        ({"training.weight_decay": -1}, "training.weight_decay must be 0 or more"),
        ({"training.warmup_steps": -1}, "training.warmup_steps must be 0 or more"),
        (
            {"training.warmup_steps": 1, "training.schedule": "one_cycle"},
            (
                "training.warmup_steps goes with training.schedule=constant or cosine or multi_step"
                " only"
            ),
        ),
        ({"training.lr_end": 1}, "training.lr_end must be in [0, training.lr]"),
        (
            {"training.lr_end": 1e-4, "training.schedule": "constant"},
            "training.lr_end goes with training.schedule=cosine only",
        ),
        ({"training.milestones": [0]}, "training.milestones must be epochs from 1"),
        (
            {"training.milestones": [1]},
            "training.milestones goes with training.schedule=multi_step only",
        ),
        ({"training.schedule": "multi_step"}, "training.schedule needs training.milestones"),
        ({"training.gamma": 0}, "training.gamma must be above 0"),
        ({"training.gamma": 0.5}, "training.gamma goes with training.schedule=multi_step only"),
        ({"training.clip_norm": 0}, "training.clip_norm must be above 0"),
        ({"training.patience": 0}, "training.patience must be 1 or more"),
        ({"training.budget_minutes": 0}, "training.budget_minutes must be above 0"),
        ({"training.print_every": 0}, "training.print_every must be above 0"),
        ({"training.threads": 0}, "training.threads must be above 0"),
        ({"training.checkpoint_seconds": -1}, "training.checkpoint_seconds must be 0 or more"),
        ({"training.memory_share": 1}, "training.memory_share must be in [0, 0.9]"),
        ({"freeze.views": 0, "freeze.upto": "all"}, "freeze.views must be 1 or more"),
        ({"freeze.views": 1}, "freeze.views needs freeze.upto"),
        ({"freeze.batch_norm": False}, "freeze.batch_norm needs freeze.upto"),
        ({"freeze.unfreeze": ["1:all"]}, "freeze.unfreeze needs freeze.upto"),
        (
            {"freeze.views": 2, "freeze.upto": "all", "freeze.batch_norm": False},
            "freeze.views goes with freeze.batch_norm=true only",
        ),
        (
            {"freeze.unfreeze": ["layer3"], "freeze.upto": "all"},
            "freeze.unfreeze must be like 2:layer3,4:all or 2:80%,4:all",
        ),
        ({"augmentation.crop_area": 1}, "augmentation.crop_area must be above 0 and below 1"),
        ({"augmentation.shift_px": 257}, "augmentation.shift_px must be 0 to 256"),
        ({"augmentation.flip": 1.5}, "augmentation.flip must be in [0, 1]"),
        ({"augmentation.contrast": 2}, "augmentation.contrast must be in [0, 1]"),
        ({"augmentation.hue": 0.6}, "augmentation.hue must be in [0, 0.5]"),
        (
            {"augmentation.rotate_degrees": 0},
            "augmentation.rotate_degrees must be above 0, at most 180",
        ),
        ({"augmentation.dropout_holes": 0}, "augmentation.dropout_holes must be 1 or more"),
        ({"augmentation.dropout_px": 0}, "augmentation.dropout_px must be 1 or more"),
        ({"augmentation.mixup": -0.1}, "augmentation.mixup must be 0 or more"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_rule(values, words):
    with pytest.raises(UserError) as wrong:
        recipe_from(values)
    assert words in wrong.value.message
    assert wrong.value.hint


@given(
    st.dictionaries(
        st.text(max_size=8) | st.sampled_from(recipe_keys()),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            st.lists,
            max_leaves=3,
        ),
        max_size=3,
    )
)
def test_whatever_is_given_there_is_a_recipe_or_an_error_for_the_user(values):
    try:
        made = recipe_from(values)
    except UserError:
        return
    assert recipe_from(recipe_values(made)) == made


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("False", False), ("TRUE", True), (True, True)]
)
def test_yes_and_no_are_true_and_false_in_any_case(text, value):
    assert recipe_from({"training.evaluate_train": text}).training.evaluate_train is value


def test_of_very_many_keys_only_the_nearest_are_named():
    with pytest.raises(UserError) as wrong:
        recipe_from({"training.epoch": 1})
    assert wrong.value.hint.startswith("Did you mean 'training.epochs'")
    assert f"There are {len(recipe_keys())} to choose from." in wrong.value.hint
    assert "seed" not in wrong.value.hint


# ── what a method never reads ──


@pytest.mark.parametrize(
    ("method", "key", "words"),
    [
        ("probe", "training.lr", "training.lr goes with method=fit or finetune, got 0.01"),
        ("probe", "augmentation.flip", "augmentation.flip goes with method=fit or finetune"),
        ("probe", "freeze.upto", "freeze.upto goes with method=fit or finetune"),
        ("probe", "head.hidden", "head.hidden goes with method=fit,"),
        ("finetune", "head.hidden", "head.hidden goes with method=fit,"),
        ("finetune", "backbone.pretrained", "backbone.pretrained goes with method=fit,"),
        ("fit", "head.folds", "head.folds goes with method=probe or finetune"),
        ("fit", "head.c_values", "head.c_values goes with method=probe or finetune"),
    ],
)
def test_an_option_that_a_method_never_reads_is_refused_with_the_methods_that_do(
    method, key, words
):
    with pytest.raises(UserError) as wrong:
        recipe_from({"method": method, key: ANOTHER[key]}).check_used()
    assert words in wrong.value.message


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("key", sorted(set(ANOTHER) - {"method"}))
def test_an_option_is_taken_by_the_methods_that_read_it_and_by_no_other(method, key):
    values = {"method": method, **with_companions(key, ANOTHER[key])}
    recipe = recipe_from(values, supplied=SUPPLIED)
    if method in methods_of(key) and all(
        method in methods_of(other) for other in COMPANIONS.get(key, {})
    ):
        recipe.check_used()
    else:
        with pytest.raises(UserError, match="goes with method="):
            recipe.check_used()


BROKEN = {
    "no such form": ["patient", "bursts", "Folder", " folder", "folder\n", ":"],
    "no value": ["column", "column:", "column: ", "folder:", "name", "name:"],
    "a wrong value": [
        "folder:0",
        "folder:-1",
        "folder:x",
        "folder:\u0661",
        "folder:1\n",
        "burst:2",
    ],
    "no expression": ["name:(", "name:a{99999999999}"],
}


@pytest.mark.parametrize("form", [form for forms in BROKEN.values() for form in forms])
def test_a_grouping_that_is_none_is_refused_with_the_forms_there_are(form):
    forms = "column:NAME, folder, folder:N (the N-th from the top, from 1), name:REGEX or burst"
    with pytest.raises(UserError) as wrong:
        recipe_from({"split.group_by": form})
    assert forms in wrong.value.message


def test_an_expression_that_does_not_hold_is_refused_with_the_reason():
    with pytest.raises(UserError, match=r"holds no regular expression \(missing \), unterminated"):
        recipe_from({"split.group_by": "name:("})


def test_every_range_is_checked_by_the_one_function_that_words_it():
    raised = [
        node for node in ast.walk(_tree(Path(recipes.__file__))) if isinstance(node, ast.Assert)
    ]
    assert raised == []


def test_what_lies_behind_the_last_epoch_is_idle():
    late = {"training.schedule": "multi_step", "training.milestones": [2, 3], "training.epochs": 3}
    late |= {"freeze.upto": "all", "freeze.unfreeze": ["2:layer4", "4:all"]}
    assert recipe_from(late).idle == {
        "training.milestones=3": "training.epochs is 3",
        "freeze.unfreeze=4:all": "training.epochs is 3",
    }


def test_what_decays_is_idle_where_nothing_decays():
    changes = {"training.decay_norms": False}
    assert recipe_from(changes).idle == {"training.decay_norms": "training.weight_decay is 0"}
    assert not recipe_from({**changes, "training.weight_decay": 0.1}).idle


def test_leaving_classes_out_is_idle_where_a_network_is_trained():
    changes = {"method": "finetune", "answer.leave_one_class_out": "always"}
    assert "answer.leave_one_class_out" in recipe_from(changes).idle
    assert not recipe_from({**changes, "method": "probe"}).idle


def test_rates_of_a_backbone_that_never_learns_are_idle():
    frozen = {"freeze.upto": "all", "training.backbone_lr": 0.1, "training.layer_decay": 0.5}
    assert recipe_from(frozen).idle == {
        "training.backbone_lr": "freeze.upto is all",
        "training.layer_decay": "freeze.upto is all",
    }
    assert not recipe_from({**frozen, "freeze.unfreeze": ["1:all"]}).idle
    assert not recipe_from({**frozen, "freeze.upto": "40%"}).idle

"""The one list of options: typed, checked at birth, spelled the same in YAML, on the command line and in Python."""

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
from tellapart.recipe import Recipe, recipe_from, recipe_keys, recipe_values

PACKAGE = Path(tellapart.__file__).parent
ANOTHER = {  # for every key, a value that is not the default
    "name": "mine",
    "seed": 7,
    "split.val": 0.2,
    "split.test": 0.3,
    "split.group_by": "name:^([a-z]+),",
    "backbone.name": "resnet18",
    "backbone.weights": "weights.safetensors",
    "preprocessing.mode": "pad",
    "preprocessing.share": 0.5,
    "preprocessing.size_px": 64,
    "head.folds": 3,
    "head.strengths": [0.5, 2.0],
    "head.weighting": "balanced",
    "answer.target_accuracy": 0.9,
    "answer.familiar_share": 0.95,
    "decoding.max_pixels": 10_000,
}


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
    changed = recipe_from({key: ANOTHER[key]})
    assert value_of(changed, key) == ANOTHER[key] != value_of(Recipe(), key)
    assert recipe_from({key: value_of(Recipe(), key)}, changed) == Recipe()


@pytest.mark.parametrize("key", recipe_keys())
def test_every_key_takes_its_value_as_text_too(key):
    text = ",".join(map(str, ANOTHER[key])) if isinstance(ANOTHER[key], list) else str(ANOTHER[key])
    assert recipe_from({key: text}) == recipe_from({key: ANOTHER[key]})


def test_every_option_is_read_somewhere():
    nodes = [node for path in PACKAGE.rglob("*.py") if path.name != "recipe.py" for node in ast.walk(_tree(path))]
    read = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}
    assert {field.name for kind in options() for field in dataclasses.fields(kind)} - read == set()


def _tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def test_a_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().seed = 1


# ── to plain values and back ──


def test_a_recipe_comes_back_from_its_values():
    recipe = recipe_from({key: value for key, value in ANOTHER.items() if key not in ("preprocessing.share",)})
    assert recipe_from(recipe_values(recipe)) == recipe


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
    split = recipe_from({key: values[key] for key in order}, recipe_from({"split.val": 0.9, "split.test": 0.05})).split
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


@pytest.mark.parametrize(
    ("form", "column"), [("column:a:b", "a:b"), ("column: x", " x"), ("folder:2", None), ("name:column:x", None)]
)
def test_the_column_to_group_by_is_known_before_the_table_is_read(form, column):
    assert recipe_from({"split.group_by": form}).split.group_column == column
    assert Recipe().split.group_column is None


# ── what is refused ──


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("head.fold", "head.folds"), ("sed", "seed"), ("split.vall", "split.val"), ("bakcbone.name", "backbone.name")],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(key, nearest):
    with pytest.raises(UserError, match=rf"Unknown recipe key '{key}'. Did you mean '{nearest}'\?"):
        recipe_from({key: 1})


@pytest.mark.parametrize("values", [{"head": 3}, {"seed.x": 1}, {"seed": {"x": 1}}, {"": 1}, {"head.": 1}, {3: 1}])
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
        ("head.strengths", "1,inf", "head.strengths must be a number, got 'inf'"),
        ("head.strengths", 3, "head.strengths must be a list of numbers, got 3"),
        ("head.strengths", "1,x", "head.strengths must be a number, got 'x'"),
        ("backbone.name", 18, "backbone.name must be text, got 18"),
        ("preprocessing.mode", "crp", "Unknown value for preprocessing.mode: 'crp'. Did you mean 'crop'"),
        ("preprocessing.share", "half", "preprocessing.share must be a number"),
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
        ({"seed": -1}, "seed must be 0 or more"),
        ({"seed": 2**63}, "seed must be 0 or more"),
        ({"split.val": 1}, "split.val must be in [0, 1)"),
        ({"split.test": 0}, "split.test must be above 0"),
        ({"split.val": 0.5, "split.test": 0.5}, "split.val plus split.test must leave something to train on"),
        ({"backbone.name": " "}, "backbone.name must be the name of a timm network"),
        ({"preprocessing.share": 1.1}, "preprocessing.share must be in [0.1, 1]"),
        ({"preprocessing.share": 0.5, "preprocessing.mode": "pad"}, "preprocessing.share goes with mode=crop only"),
        ({"preprocessing.size_px": 31}, "preprocessing.size_px is 32 to 2048"),
        ({"head.folds": 1}, "head.folds must be 2 to 20"),
        ({"head.strengths": []}, "head.strengths must name at least one"),
        ({"head.strengths": [0.1, 0]}, "head.strengths must be above 0"),
        ({"answer.target_accuracy": 1}, "answer.target_accuracy must be in [0.5, 1)"),
        ({"answer.familiar_share": 0.4}, "answer.familiar_share must be in [0.5, 1]"),
        ({"decoding.max_pixels": 0}, "decoding.max_pixels must be 1 to"),
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
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), st.lists, max_leaves=3
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


BROKEN = {
    "no such form": ["patient", "bursts", "Folder", " folder", "folder\n", ":"],
    "no value": ["column", "column:", "column: ", "folder:", "name", "name:"],
    "a wrong value": ["folder:0", "folder:-1", "folder:x", "folder:\u0661", "folder:1\n", "burst:2"],
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
    raised = [node for node in ast.walk(_tree(Path(recipes.__file__))) if isinstance(node, ast.Assert)]
    assert raised == []

"""The one list of options. Recipe files, `--set key=value` and these fields are three spellings of it."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from tellapart.errors import UserError, choose, require

GROUP_FORMS = "column:NAME, folder, folder:N (the N-th from the top, from 1), name:REGEX or burst"


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How the pictures are divided where the source does not say."""

    val: float = 0.15  # share of the pictures, in [0, 1); 0: no val, so no calibration
    test: float = 0.15  # share of the pictures, in (0, 1)
    group_by: str | None = None  # GROUP_FORMS: what stays on one side; none: the groups that a table states

    def __post_init__(self) -> None:
        require(0 <= self.val < 1, "split.val", self.val, "must be in [0, 1)")
        require(0 < self.test < 1, "split.test", self.test, "must be above 0 and below 1")
        require(self.val + self.test < 1, "split.val", self.val, "plus split.test must leave something to train on")
        rule = "" if self.group_by is None else _broken_group_rule(self.group_by)
        require(not rule, "split.group_by", self.group_by, rule)

    @property
    def group_column(self) -> str | None:
        """The column of a table that `group_by` names, if it names one."""
        form, _, name = (self.group_by or "").partition(":")
        return name if form == "column" else None


@dataclass(frozen=True, kw_only=True)
class BackboneOptions:
    """The pretrained network whose features the head is fitted on."""

    name: str = "tf_efficientnet_lite0"  # any timm name
    weights: str | None = None  # a .safetensors or .pth file; none: installed package, then cache, then hub

    def __post_init__(self) -> None:
        require(bool(self.name.strip()), "backbone.name", self.name, "must be the name of a timm network")


@dataclass(frozen=True, kw_only=True)
class PreprocessingOptions:
    """From a picture of any size to the network's square input."""

    mode: Literal["crop", "squash", "pad"] = "crop"
    share: float | None = None  # of the short side that "crop" keeps, in (0, 1]; none: as the network was trained
    size_px: int | None = None  # side of the network's input; none: as the network was trained

    def __post_init__(self) -> None:
        require(self.share is None or 0.1 <= self.share <= 1, "preprocessing.share", self.share, "must be in [0.1, 1]")
        require(
            self.share is None or self.mode == "crop", "preprocessing.share", self.share, "goes with mode=crop only"
        )
        require(
            self.size_px is None or 32 <= self.size_px <= 2048, "preprocessing.size_px", self.size_px, "is 32 to 2048"
        )


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """The multinomial logistic regression on the features."""

    folds: int = 5  # inside train, to choose the regularisation
    strengths: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)  # tried: C of scikit-learn
    weighting: Literal["none", "balanced"] = "none"  # balanced: each class counts the same

    def __post_init__(self) -> None:
        require(2 <= self.folds <= 20, "head.folds", self.folds, "must be 2 to 20")
        require(len(self.strengths) > 0, "head.strengths", self.strengths, "must name at least one")
        require(all(c > 0 for c in self.strengths), "head.strengths", self.strengths, "must be above 0")


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """When the model says that it does not know."""

    target_accuracy: float = 0.95  # answers below the confidence that reaches this on val are "unsure"
    familiar_share: float = 0.99  # share of val pictures that count as familiar; the rest is "unfamiliar"

    def __post_init__(self) -> None:
        require(0.5 <= self.target_accuracy < 1, "answer.target_accuracy", self.target_accuracy, "must be in [0.5, 1)")
        require(0.5 <= self.familiar_share <= 1, "answer.familiar_share", self.familiar_share, "must be in [0.5, 1]")


@dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """What is read from a file at all."""

    max_pixels: int = 89_478_485  # width x height; a larger picture is rejected as too_large before it is decoded

    def __post_init__(self) -> None:
        require(1 <= self.max_pixels <= 2**31, "decoding.max_pixels", self.max_pixels, "must be 1 to 2147483648")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides a run, but for the data. Frozen, so a run folder never disagrees with its run."""

    name: str = "probe"
    seed: int = 0
    split: SplitOptions = field(default_factory=SplitOptions)
    backbone: BackboneOptions = field(default_factory=BackboneOptions)
    preprocessing: PreprocessingOptions = field(default_factory=PreprocessingOptions)
    head: HeadOptions = field(default_factory=HeadOptions)
    answer: AnswerOptions = field(default_factory=AnswerOptions)
    decoding: DecodingOptions = field(default_factory=DecodingOptions)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**63, "seed", self.seed, "must be 0 or more")


def recipe_from(values: Mapping[str, Any], base: Recipe | None = None) -> Recipe:
    """A recipe with some values changed; keys are dotted or nested, values are typed or text.

    Raises:
        UserError: an unknown key (with the nearest right one), or a value of the wrong type or range.

    >>> recipe_from({"head.folds": "3", "seed": 7}).head.folds
    3
    """
    recipe = base or Recipe()
    changes: dict[str, Any] = {}
    for key, value in _flat(values):
        *groups, last = key.split(".")
        options: Any = recipe
        inside = changes
        for group in groups:
            options = getattr(options, _field(options, group, key, holds_more=True))
            inside = inside.setdefault(group, {})
        name = _field(options, last, key, holds_more=False)
        inside[name] = _typed(key, value, _hints(options)[name])
    return cast(Recipe, _changed(recipe, changes))


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain nested values, ready for YAML or JSON.

    >>> recipe_values(Recipe())["head"]["folds"]
    5
    """
    return cast(dict[str, Any], _plain(dataclasses.asdict(recipe)))


def recipe_keys() -> list[str]:
    """Every key that `--set` takes, dotted."""
    return [key for key, _ in _flat(recipe_values(Recipe()))]


def _broken_group_rule(group_by: str) -> str:
    """The rule that a `group_by` breaks, or "" where it breaks none.

    >>> _broken_group_rule("folder:2"), _broken_group_rule("name:(")[:41]
    ('', 'holds no regular expression (missing ), u')
    """
    form, _, value = group_by.partition(":")
    if form == "name" and value:
        try:
            re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            return f"holds no regular expression ({error}); it must be {GROUP_FORMS}"
        return ""
    numbered = form == "folder" and re.fullmatch("0*[1-9][0-9]{0,3}", value)
    named = form == "column" and value.strip()
    return "" if numbered or named or group_by in ("folder", "burst") else f"must be {GROUP_FORMS}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def _field(options: Any, name: str, key: str, *, holds_more: bool) -> str:
    """`name`, if `options` has such a field, and it is a group of options exactly where the key goes on."""
    if name not in _hints(options) or dataclasses.is_dataclass(getattr(options, name)) != holds_more:
        choose("recipe key", key, recipe_keys())
    return name


def _hints(options: Any) -> dict[str, Any]:
    return typing.get_type_hints(type(options))


def _changed(options: Any, changes: Mapping[str, Any]) -> Any:
    """All changes at once, so that values that only fit together never meet the old ones."""
    new = {
        name: _changed(getattr(options, name), change) if isinstance(change, dict) else change
        for name, change in changes.items()
    }
    return dataclasses.replace(options, **new)


def _typed(key: str, value: Any, hint: Any) -> Any:
    """`value` as the type of the field: text from the command line is parsed, YAML's own types are checked."""
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        if value is None or value in ("none", "null", ""):
            return None
        return _typed(key, value, options[0])
    if origin is Literal:
        return choose(f"value for {key}:", str(value), options)
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise UserError(f"{key} must be a list of numbers, got {value!r}.", f"For example --set {key}=0.01,0.1")
        return tuple(_typed(key, part, options[0]) for part in parts)
    wrong = UserError(f"{key} must be {_WORDS[hint]}, got {value!r}.", f"Set it with --set {key}=…")
    if isinstance(value, bool) or (hint is str and not isinstance(value, str)):
        raise wrong
    try:
        typed = hint(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if (hint is float and not math.isfinite(typed)) or (hint is int and isinstance(value, float) and value != typed):
        raise wrong
    return typed


_WORDS = {int: "a whole number", float: "a number", str: "text"}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value

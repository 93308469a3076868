"""The one list of options. Recipe files, `--set key=value` and these fields are three spellings of
it.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from tellapart.errors import UserError, choose, require
from tellapart.options import (
    COMPANIONS,
    AnswerOptions,
    AugmentationOptions,
    BackboneOptions,
    DecodingOptions,
    FreezeOptions,
    HeadOptions,
    PreprocessingOptions,
    SplitOptions,
    TrainingOptions,
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides a run, but for the data. Frozen, so a run folder never disagrees with its
    run.
    """

    name: str = "probe"  # what the recipe is called
    method: Literal["probe", "fit", "finetune"] = (
        "probe"  # fit: by gradient; finetune: so too, beginning at the probe
    )
    dataset: str | None = None  # the public data set that it is for, used where no data is given
    seed: int = 0  # of every random decision
    split: SplitOptions = field(default_factory=SplitOptions)
    backbone: BackboneOptions = field(default_factory=BackboneOptions)
    preprocessing: PreprocessingOptions = field(default_factory=PreprocessingOptions)
    head: HeadOptions = field(default_factory=HeadOptions)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    freeze: FreezeOptions = field(default_factory=FreezeOptions)
    augmentation: AugmentationOptions = field(default_factory=AugmentationOptions)
    answer: AnswerOptions = field(default_factory=AnswerOptions)
    decoding: DecodingOptions = field(default_factory=DecodingOptions)

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**63, "seed", self.seed, "must be 0 or more")
        mixed = self.augmentation.mixup or self.augmentation.cutmix
        rule = (
            "keeps images one by one, so it does not go with augmentation.mixup or"
            " augmentation.cutmix"
        )
        require(not (self.freeze.views and mixed), "freeze.views", self.freeze.views, rule)
        one = self.head.logits == "one"
        require(
            not one or self.training.loss == "bce", "head.logits", "one", "needs training.loss=bce"
        )

    def check_used(self) -> None:
        """Refuse options that the method never reads.

        Raises:
            UserError: the first of them, with the methods that it goes with.
        """
        plain = dict(recipe_items(Recipe()))
        for key, value in recipe_items(self):
            methods = methods_of(key)
            rule = f"goes with method={' or '.join(methods)}"
            require(self.method in methods or value == plain[key], key, value, rule)

    @property
    def idle(self) -> dict[str, str]:
        """Keys that were set and do nothing → why. They are told, not refused: a search may leave
        them so.

        >>> recipe_from({"augmentation.border": "fill"}).idle
        {'augmentation.border': 'augmentation.rotate is 0'}
        """
        needs = {
            f"augmentation.{name}": (
                f"augmentation.{leader} is 0",
                not getattr(self.augmentation, leader),
            )
            for leader, names in COMPANIONS.items()
            for name in names
        }
        frozen = self.freeze.upto == "all" and not self.freeze.unfreeze
        needs |= {
            f"training.{name}": ("freeze.upto is all", frozen)
            for name in ("backbone_lr", "layer_decay")
        }
        plain, values = dict(recipe_items(Recipe())), dict(recipe_items(self))
        idle = {
            key: why for key, (why, holds) in needs.items() if holds and values[key] != plain[key]
        }
        epochs = self.training.epochs
        late = [
            f"training.milestones={done}" for done in self.training.milestones if done >= epochs
        ]
        late += [
            f"freeze.unfreeze={step}"
            for step in self.freeze.unfreeze
            if int(step.split(":")[0]) >= epochs
        ]
        return idle | dict.fromkeys(late, f"training.epochs is {epochs}")


def recipe_from(values: Mapping[str, Any], base: Recipe | None = None) -> Recipe:
    """A recipe with some values changed; keys are dotted or nested, values are typed or text.

    Raises:
        UserError: an unknown key (with the nearest right one), or a value of the wrong type or
            range.

    >>> recipe_from({"head.folds": "3", "seed": 7}).head.folds
    3
    """
    recipe = base or Recipe()
    changes: dict[str, Any] = {}
    for key, value in flat_items(values):
        *groups, last = key.split(".")
        options: Any = recipe
        inside = changes
        for group in groups:
            options = getattr(options, _field(options, group, key, holds_more=True))
            inside = inside.setdefault(group, {})
        name = _field(options, last, key, holds_more=False)
        inside[name] = typed_value(key, value, _hints(options)[name])
    return cast(Recipe, _changed(recipe, changes))


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain nested values, ready for YAML or JSON.

    >>> recipe_values(Recipe())["head"]["folds"]
    5
    """
    return cast(dict[str, Any], _plain(dataclasses.asdict(recipe)))


def recipe_keys() -> list[str]:
    """Every key that `--set` takes, dotted."""
    return [key for key, _ in recipe_items(Recipe())]


def recipe_items(recipe: Recipe) -> list[tuple[str, Any]]:
    """Every dotted key with its plain value, in the order of the fields."""
    return flat_items(recipe_values(recipe))


def methods_of(key: str) -> tuple[str, ...]:
    """The methods that read an option.

    >>> methods_of("freeze.upto")
    ('fit', 'finetune')
    """
    return next((of for prefix, of in _METHODS.items() if key.startswith(prefix)), METHODS)


def flat_items(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested values as dotted keys and plain values, in their order.

    >>> flat_items({"seed": 0, "split": {"val": 0.1}})
    [('seed', 0), ('split.val', 0.1)]
    """
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            pairs += flat_items(value, f"{prefix}{key}.")
        else:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def option_text(value: Any) -> str:
    """A recipe's value as `--set` takes it.

    >>> option_text(None), option_text([0.1, 1.0]), option_text(True)
    ('none', '0.1,1.0', 'true')
    """
    if isinstance(value, list | tuple):
        return ",".join(map(option_text, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _field(options: Any, name: str, key: str, *, holds_more: bool) -> str:
    """`name`, if `options` has such a field, and it is a group of options exactly where the key
    goes on.
    """
    if (
        name not in _hints(options)
        or dataclasses.is_dataclass(getattr(options, name)) != holds_more
    ):
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


def typed_value(key: str, value: Any, hint: Any) -> Any:
    """`value` as the type of the field: text from the command line is parsed, YAML's own types are
    checked.
    """
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        if value is None or value in ("none", "null", ""):
            return None
        return typed_value(key, value, options[0])
    if origin is Literal:
        return choose(f"value for {key}:", str(value), options)
    if origin is tuple:
        parts = [part for part in value.split(",") if part] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise UserError(
                f"{key} must be a list, got {value!r}.",
                f"Separate the values by commas: --set {key}=…,…",
            )
        return tuple(typed_value(key, part, options[0]) for part in parts)
    wrong = UserError(f"{key} must be {_WORDS[hint]}, got {value!r}.", f"Set it with --set {key}=…")
    if hint is bool:
        word = str(value).lower()
        if word not in ("true", "false"):
            raise wrong
        return word == "true"
    if isinstance(value, bool) or (hint is str and not isinstance(value, str)):
        raise wrong
    try:
        typed = hint(value)
    except (TypeError, ValueError, OverflowError):
        raise wrong from None
    if (hint is float and not math.isfinite(typed)) or (
        hint is int and isinstance(value, float) and value != typed
    ):
        raise wrong
    return typed


UNIONS = (
    types.UnionType,
    typing.Union,
)  # `Literal[...] | None` is the second, other types with None the first
METHODS = ("probe", "fit", "finetune")
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}

# The options that only some methods read, by the beginning of their keys.
_METHODS = {
    "backbone.pretrained": ("fit",),
    "head.hidden": ("fit",),
    "head.logits": ("fit",),
    "head.folds": ("probe", "finetune"),
    "head.c_values": ("probe", "finetune"),
    "training.": ("fit", "finetune"),
    "freeze.": ("fit", "finetune"),
    "augmentation.invariant": ("finetune",),
    "augmentation.": ("fit", "finetune"),
}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value

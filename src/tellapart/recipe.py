"""The recipe: the one list of options, which YAML files, `--set key=value` and Python all spell."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, cast

from tellapart.errors import UserError, choose, require
from tellapart.options import (
    COMPANIONS,
    AnswerOptions,
    AugmentationOptions,
    BackboneOptions,
    DataOptions,
    DecodingOptions,
    FreezeOptions,
    HeadOptions,
    PreprocessingOptions,
    SplitOptions,
    TrainingOptions,
    option,
)

Supplied = Mapping[str, Collection[str]]  # recipe key → names that the user gave parts of their own


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides a run, except the data. It is frozen, so that a run folder never disagrees
    with its run.
    """

    name: str = option("probe", "The name of the recipe.")
    method: Literal["probe", "fit", "finetune"] = option(
        "probe",
        "How the classifier learns. probe fits a head on frozen features, fit trains by gradient,"
        " finetune does so from the probe on.",
    )
    dataset: str | None = option(
        None, "The public data set that the recipe is for. It is fetched where no data is given."
    )
    seed: int = option(0, "The seed of every random decision.")
    data: DataOptions = field(default_factory=DataOptions)
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
        require(0 <= self.seed < 2**63, "seed", self.seed, "must be 0 to 2^63 - 1")
        mixed = self.augmentation.mixup or self.augmentation.cutmix
        rule = (
            "keeps images one by one, so it does not go with augmentation.mixup or"
            " augmentation.cutmix"
        )
        require(not (self.freeze.views and mixed), "freeze.views", self.freeze.views, rule)
        fits = self.head.logits != "one" or self.training.loss == "bce"
        require(fits, "head.logits", "one", "needs training.loss=bce")
        whole = self.backbone.precision != "int8" or not self.by_gradient
        require(whole, "backbone.precision", "int8", "goes with method=probe: gradients need fp32")

    @property
    def by_gradient(self) -> bool:
        """Whether the network learns by gradient: in epochs, with events and metrics."""
        return self.method != "probe"

    @property
    def starts_at_probe(self) -> bool:
        """Whether a head on frozen features comes first: alone, or as where gradient training
        starts.
        """
        return self.method != "fit"

    @property
    def balances(self) -> bool:
        """Whether the model learns as if all classes were equally frequent, or as a table says."""
        return self.head.weighting == "balanced" or (
            self.by_gradient and self.training.sampling != "shuffled"
        )

    @property
    def splitting(self) -> SplitOptions:
        """How a training divides the images: a probe needs no val, gradient training does."""
        return dataclasses.replace(self.split, val=self.split.share_of_val(self.by_gradient))

    def with_val(self) -> Recipe:
        """The same recipe where something is chosen on val, so that a probe has val too."""
        split = dataclasses.replace(self.split, val=self.split.share_of_val(True))
        return dataclasses.replace(self, split=split)

    def check_used(self) -> None:
        """Refuse options that the method never reads.

        Raises:
            UserError: names the first of them, with the methods that it goes with.
        """
        defaults = dict(recipe_items(Recipe()))
        for key, value in recipe_items(self):
            methods = methods_of(key)
            rule = f"goes with method={' or '.join(methods)}"
            require(self.method in methods or value == defaults[key], key, value, rule)

    @property
    def idle(self) -> dict[str, str]:
        """Keys that were set and do nothing → why.

        They are noted, not refused: a search may leave them so.

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
        needs["training.decay_norms"] = (
            "training.weight_decay is 0",
            not self.training.weight_decay,
        )
        needs["answer.leave_one_class_out"] = ("the recipe trains by gradient", self.by_gradient)
        defaults, values = dict(recipe_items(Recipe())), dict(recipe_items(self))
        idle = {
            key: why
            for key, (why, holds) in needs.items()
            if holds and values[key] != defaults[key]
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


def recipe_from(
    values: Mapping[str, Any], base: Recipe | None = None, supplied: Supplied | None = None
) -> Recipe:
    """A recipe with some values changed; keys are dotted or nested, values are typed or text.

    Args:
        values: the changes.
        base: what is changed. None means the plain recipe.
        supplied: the names of the user's own parts, which the keys take too. Names that the base
            has already need not be supplied again.

    Raises:
        UserError: a key is unknown, or a value has the wrong type or range.

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
        inside[name] = typed_value(key, value, option_types(options, supplied)[name])
    return cast(Recipe, _changed(recipe, changes))


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain nested values, for YAML or JSON.

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
    return next(
        (methods for prefix, methods in _METHODS.items() if key.startswith(prefix)), METHODS
    )


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
    """Return `name` if `options` has such a field. It is a group exactly where the key goes on."""
    names = {spec.name for spec in dataclasses.fields(options)}
    if name not in names or dataclasses.is_dataclass(getattr(options, name)) != holds_more:
        choose("recipe key", key, recipe_keys())
    return name


def option_types(options: Any, supplied: Supplied | None = None) -> dict[str, Any]:
    """The type of each field of a group of options.

    A field that takes names of the user's own has a Literal of all names that it takes now.

    >>> option_types(TrainingOptions(), {"training.loss": ["focal"]})["loss"]
    typing.Literal['cross_entropy', 'bce', 'focal']
    """
    group: Any = type(options)
    resolved = _type_hints(group)
    hints = {spec.name: resolved[spec.name] for spec in dataclasses.fields(options)}
    for spec in dataclasses.fields(options):
        choices = spec.metadata.get("choices")
        if choices is not None:
            value = getattr(options, spec.name)
            own = (supplied or {}).get(f"{options.key}.{spec.name}", ())
            known = value if isinstance(value, tuple) else (value,)
            listed = tuple(dict.fromkeys((*choices, *own, *known)))
            names: Any = Literal.__getitem__(listed)  # as Literal[…], of names known only now
            many = types.GenericAlias(tuple, (names, ...))
            hints[spec.name] = many if isinstance(value, tuple) else names
    return hints


@cache  # Python evaluates the text of each hint anew
def _type_hints(group: Any) -> dict[str, Any]:
    return typing.get_type_hints(group)


@cache
def own_choices(key: str) -> tuple[str, ...]:
    """The names of tellapart's own parts that a key takes; empty for a key that takes others too.

    >>> own_choices("training.loss"), own_choices("backbone.name")
    (('cross_entropy', 'bce'), ())
    """
    *groups, name = key.split(".")
    options: Any = Recipe()
    for group in groups:
        options = getattr(options, group)
    fields = {spec.name: spec for spec in dataclasses.fields(options)}
    return tuple(fields[name].metadata.get("choices") or ())


def _changed(options: Any, changes: Mapping[str, Any]) -> Any:
    """Make all changes at once: values that only fit together never meet the old ones."""
    new = {
        name: _changed(getattr(options, name), change) if isinstance(change, dict) else change
        for name, change in changes.items()
    }
    return dataclasses.replace(options, **new)


def typed_value(key: str, value: Any, hint: Any) -> Any:
    """`value` as the type of the field.

    Text from the command line is parsed, and YAML's own types are checked.
    """
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        if value is None or value in ("none", "null", ""):
            return None
        return typed_value(key, value, options[0])
    if origin is Literal:
        if value is False and "off" in options:
            value = "off"  # YAML reads the bare word as false
        return choose_name(key, str(value), options)
    if origin is tuple:
        items = [item for item in value.split(",") if item] if isinstance(value, str) else value
        if not isinstance(items, list | tuple):
            raise UserError(
                f"{key} must be a list, got {value!r}.",
                f"Separate the values by commas: --set {key}=…,…",
            )
        return tuple(typed_value(key, item, options[0]) for item in items)
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


def choose_name(key: str, name: str, names: Collection[str]) -> str:
    """Return `name` if a key takes it, else say which names it takes.

    Raises:
        UserError: the key does not take it.
    """
    if not names:
        raise UserError(
            f"Unknown value for {key}: {name!r}.",
            "This key takes names of your own parts alone, which are given in Python.",
        )
    return choose(f"value for {key}:", name, names)


# `Literal[...] | None` is a typing.Union, other types with None are a types.UnionType.
UNIONS = (types.UnionType, typing.Union)
METHODS = ("probe", "fit", "finetune")
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}

# The options that only some methods read, by the beginning of their keys. The first match counts.
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

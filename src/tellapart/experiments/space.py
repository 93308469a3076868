"""A search space: recipe keys, each with a range or a list of choices, some under a condition.

A space file is YAML. Its keys are those of a recipe, dotted or nested:

    training.lr: {low: 1e-4, high: 1e-3, log: true}
    training.epochs: {low: 2, high: 10}
    training.optimizer: [adam, sgd]
    training.momentum: {choices: [0.8, 0.9], when: {training.optimizer: sgd}}
"""

from __future__ import annotations

import math
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tellapart.errors import UserError, choose
from tellapart.recipe import (
    UNIONS,
    Recipe,
    option_types,
    recipe_from,
    recipe_items,
    recipe_keys,
    typed_value,
)

if TYPE_CHECKING:
    from optuna.trial import Trial

Value = str | int | float | bool | None

# These keys decide what is measured and on which images. Trials that differ in them could not be
# compared.
FIXED = ("name", "method", "dataset", "seed", "split.", "answer.", "decoding.", "training.monitor")
_DEFAULTS = dict(recipe_items(Recipe()))


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One recipe key that is searched.

    Args:
        key: with dots.
        choices: the values to choose from; empty for a range. A list such as that of head.hidden is
            text: "256,32".
        low: the lower end of a range, included.
        high: the upper end of a range, included.
        log: whether equal ratios are equally likely.
        step: the distance between values, counted from low.
        whole: whether the range has whole numbers only.
        when: another key → its values under which this key is searched. Under other values this key
            has its default.
    """

    key: str
    choices: tuple[Value, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    whole: bool = False
    when: Mapping[str, tuple[Value, ...]]

    def counts(self, settings: Mapping[str, Value]) -> bool:
        """Whether its conditions hold."""
        return all(settings[key] in values for key, values in self.when.items())

    def holds(self, value: Value) -> bool:
        """Whether this value is in the range or among the choices."""
        if self.choices:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        if isinstance(value, str | bool | None) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return math.isclose(steps, round(steps), abs_tol=1e-8)

    def drawn(self, trial: Trial) -> Value:
        """The value of an Optuna trial, drawn if it has none yet."""
        if self.choices:
            return trial.suggest_categorical(self.key, self.choices)
        if self.whole:
            step = round(self.step or 1)
            return trial.suggest_int(
                self.key, round(self.low), round(self.high), log=self.log, step=step
            )
        return trial.suggest_float(self.key, self.low, self.high, log=self.log, step=self.step)

    def as_json(self) -> dict[str, Any]:
        """Plain values, as a space file has them."""
        values: dict[str, Any] = (
            {"choices": list(self.choices)} if self.choices else {"low": self.low}
        )
        if not self.choices:
            values |= {"high": self.high, "log": self.log} | (
                {"step": self.step} if self.step else {}
            )
        return values | (
            {"when": {key: list(of) for key, of in self.when.items()}} if self.when else {}
        )


@dataclass(frozen=True)
class Space:
    """A search space around a recipe.

    Args:
        parameters: each comes after those that its conditions name.
        base: the recipe with all other keys.
    """

    parameters: tuple[Parameter, ...]
    base: Recipe

    @property
    def keys(self) -> list[str]:
        """The keys that are searched."""
        return [parameter.key for parameter in self.parameters]

    def drawn(self, trial: Trial) -> dict[str, Value]:
        """The settings of a trial: the keys that count in it, with their values.

        A trial that was started earlier keeps its values.
        """
        values, settings = _plain_items(self.base), {}
        for parameter in self.parameters:
            if parameter.counts(values):
                settings[parameter.key] = parameter.drawn(trial)
            values[parameter.key] = settings.get(parameter.key, _plain(_DEFAULTS[parameter.key]))
        return settings

    def recipe(
        self, settings: Mapping[str, Value], changes: Mapping[str, Any] | None = None
    ) -> Recipe:
        """The recipe with these settings. Keys of the space without a setting have their defaults.

        Args:
            settings: of the keys that count.
            changes: further keys to set.

        Raises:
            UserError: the settings do not go together.
        """
        idle = {key: _DEFAULTS[key] for key in self.keys if key not in settings}
        recipe = recipe_from({**idle, **settings, **(changes or {})}, self.base)
        recipe.check_used()
        return recipe

    def own(self) -> dict[str, Value]:
        """The settings of the base recipe, as far as they lie in the space."""
        values, own = _plain_items(self.base), {}
        for parameter in self.parameters:
            if parameter.counts(values) and parameter.holds(values[parameter.key]):
                own[parameter.key] = values[parameter.key]
        return own

    def as_json(self) -> dict[str, Any]:
        """Plain values, as a space file has them."""
        return {parameter.key: parameter.as_json() for parameter in self.parameters}


def read_space(text: str, base: Recipe, where: str) -> Space:
    """A space from the text of its file.

    Args:
        text: YAML.
        base: the recipe to search around.
        where: the name of the file, for error messages.

    Raises:
        UserError: it is not a space around this recipe. The message names the file and the key.
    """
    return space_from(_read(text, where), base, where)


def fitting_space(text: str, base: Recipe, where: str, fixed: Collection[str]) -> Space:
    """The part of a space that fits a recipe in which some keys are fixed.

    It is without the fixed keys, without choices that no longer make a recipe, and without keys
    that have nothing left to choose.

    Raises:
        UserError: as `read_space`, or only one end of a range fits the fixed keys.
    """
    space = _space(_read(text, where), base, where)
    free = tuple(parameter for parameter in space.parameters if parameter.key not in fixed)
    space = Space(free, base)
    fitting = (_fitting(parameter, space) for parameter in free)
    return _checked(Space(tuple(filter(None, fitting)), base), where)


def space_from(values: Mapping[str, Any], base: Recipe, where: str) -> Space:
    """A space from plain values, as `Space.as_json` gives them.

    Raises:
        UserError: as `read_space`.
    """
    return _checked(_space(values, base, where), where)


def _read(text: str, where: str) -> Mapping[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(
            f"{where}{line} is not YAML.", "Write key: [values], or key: {low: …, high: …}."
        ) from None
    if not isinstance(values, Mapping) or not values:
        raise UserError(
            f"{where} holds no keys.", "Write key: [values], or key: {low: …, high: …}."
        )
    return values


def _space(values: Mapping[str, Any], base: Recipe, where: str) -> Space:
    """The space, not yet checked against the recipe."""
    parameters = [_parameter(key, value, where) for key, value in _flat(values, where)]
    return Space(tuple(_ordered(parameters, where)), base)


def _checked(space: Space, where: str) -> Space:
    for parameter in space.parameters:
        _check(parameter, space, where)
    return space


def _flat(values: Mapping[str, Any], where: str, prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    keys = recipe_keys()
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and any(name.startswith(f"{key}.") for name in keys):
            pairs += _flat(value, where, f"{key}.")
            continue
        _known(key, where)
        if key.startswith(FIXED):
            raise _wrong(
                where,
                key,
                "decides what is measured, so it cannot be searched",
                "Set it with --set.",
            )
        pairs.append((key, value))
    return pairs


def _parameter(key: str, value: Any, where: str) -> Parameter:
    given = dict(value) if isinstance(value, Mapping) else {"choices": value}
    when = _conditions(key, given.pop("when", {}), where)
    if "choices" in given:
        _no_more(given, ("choices",), key, where)
        return Parameter(key=key, choices=_choices(key, given["choices"], where), when=when)
    _no_more(given, ("low", "high", "log", "step"), key, where)
    hint = _hint(key)
    if hint not in (int, float):
        raise _wrong(where, key, "takes no range", f"List what it may be: {key}: [a, b].")
    low, high = (_number(key, name, given.get(name), hint, where) for name in ("low", "high"))
    step = (
        _number(key, "step", given["step"], hint, where) if given.get("step") is not None else None
    )
    log = given.get("log", False)
    for wrong, what in (
        (not isinstance(log, bool), "has a log that is neither true nor false"),
        (low > high, f"goes from {low:g} down to {high:g}"),
        (bool(log) and low <= 0, "has a log range that does not begin above 0"),
        (bool(log) and step is not None, "has both log and step"),
        (step is not None and step <= 0, "has a step that is not above 0"),
    ):
        if wrong:
            raise _wrong(
                where,
                key,
                what,
                f"Write {key}: {{low: …, high: …, log: true}}, or step instead of log.",
            )
    return Parameter(key=key, low=low, high=high, log=log, step=step, whole=hint is int, when=when)


def _choices(key: str, values: Any, where: str) -> tuple[Value, ...]:
    if not isinstance(values, list) or not values:
        hint = f"Write {key}: [a, b], or {key}: {{low: …, high: …}}."
        raise _wrong(where, key, f"must be a list of choices or a range, got {values!r}", hint)
    typed = tuple(_typed(key, value, where) for value in values)
    if len(set(map(repr, typed))) < len(typed):
        raise _wrong(where, key, "names a choice twice", "Name it once.")
    return typed


def _typed(key: str, value: Any, where: str) -> Value:
    """A choice as the recipe reads it, whether or not it fits the rest of the recipe."""
    *groups, name = key.split(".")
    try:
        return _plain(typed_value(key, value, _hints(groups)[name]))
    except UserError as error:
        raise UserError(f"{where}: {error.message}", error.hint) from None


def _plain(value: Any) -> Value:
    """A value as Optuna takes it. A list becomes text."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _plain_items(recipe: Recipe) -> dict[str, Value]:
    return {key: _plain(value) for key, value in recipe_items(recipe)}


def _conditions(key: str, when: Any, where: str) -> dict[str, tuple[Value, ...]]:
    if not isinstance(when, Mapping):
        raise _wrong(where, key, f"has a when that is {when!r}", "Write when: {other.key: value}.")
    conditions = {}
    for other, values in when.items():
        _known(str(other), where)
        listed = values if isinstance(values, list) else [values]
        conditions[str(other)] = tuple(_typed(str(other), value, where) for value in listed)
    return conditions


def _ordered(parameters: Sequence[Parameter], where: str) -> Iterable[Parameter]:
    """The parameters, each after those that its conditions name."""
    of = {parameter.key: parameter for parameter in parameters}
    left = dict(of)
    while left:
        ready = [
            parameter for parameter in left.values() if not parameter.when.keys() & left.keys()
        ]
        if not ready:
            raise _wrong(
                where, min(left), "has conditions that form a circle", "Remove one of them."
            )
        for parameter in ready:
            for other, values in parameter.when.items():
                if other in of and not all(of[other].holds(value) for value in values):
                    hint = "Name values that are in the space."
                    raise _wrong(
                        where, parameter.key, f"counts under a value that {other} never has", hint
                    )
            del left[parameter.key]
            yield parameter


def _check(parameter: Parameter, space: Space, where: str) -> None:
    """Check that each choice, or both ends of a range, make a recipe with the base.

    The keys that a parameter depends on get values under which it counts.
    """
    for value in parameter.choices or (parameter.low, parameter.high):
        try:
            _made(parameter, value, space, space.own())
        except UserError as error:
            hint = "Change it there, or say under what it counts: when: {other.key: value}."
            raise UserError(f"{where}: {parameter.key}: {error.message}", hint) from None


def _fitting(parameter: Parameter, space: Space) -> Parameter | None:
    """The parameter with the values that make a recipe with the base; None if no choice is left."""
    own, fitting = _plain_items(space.base), []
    for value in parameter.choices or (parameter.low, parameter.high):
        with suppress(UserError):
            if parameter.key in _made(parameter, value, space, own).idle:
                return None
            fitting.append(value)
    if not parameter.choices:
        return parameter if fitting else None
    return replace(parameter, choices=tuple(fitting)) if {*fitting} - {own[parameter.key]} else None


def _made(
    parameter: Parameter, value: Value, space: Space, settings: Mapping[str, Value]
) -> Recipe:
    """The recipe with one value, with the values that it depends on, and else with these settings.

    Raises:
        UserError: they do not go together.
    """
    under: dict[str, Value] = {}
    _assume(parameter, space, under)
    kept = _counting(space, {**settings, **under, parameter.key: value})
    return space.recipe({**kept, parameter.key: value})


def _assume(parameter: Parameter, space: Space, under: dict[str, Value]) -> None:
    """Add values under which a parameter counts, and values under which those count."""
    of = {each.key: each for each in space.parameters}
    for other, values in parameter.when.items():
        if other in of and other not in under:
            under[other] = values[0]
            _assume(of[other], space, under)


def _counting(space: Space, settings: Mapping[str, Value]) -> dict[str, Value]:
    """The settings of the keys that count, given the others."""
    values, kept = _plain_items(space.base), {}
    for parameter in space.parameters:
        counts = parameter.counts(values)
        if counts and parameter.key in settings:
            kept[parameter.key] = settings[parameter.key]
        elif counts:
            kept[parameter.key] = parameter.choices[0] if parameter.choices else parameter.low
        values[parameter.key] = kept.get(parameter.key, _plain(_DEFAULTS[parameter.key]))
    return kept


def _number(key: str, name: str, value: Any, hint: type, where: str) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or (hint is int and number != int(number)):
        kind = "a whole number" if hint is int else "a number"
        raise _wrong(
            where,
            key,
            f"needs {kind} for {name}, got {value!r}",
            f"Write {key}: {{low: …, high: …}}.",
        )
    return int(number) if hint is int else number


def _known(key: str, where: str) -> None:
    try:
        choose("recipe key", key, recipe_keys())
    except UserError as error:
        raise UserError(f"{where}: {error.message}", error.hint) from None


def _no_more(given: Mapping[str, Any], allowed: Sequence[str], key: str, where: str) -> None:
    for name in given:
        if name not in allowed:
            raise _wrong(
                where,
                key,
                f"has {name!r}, which means nothing there",
                f"It takes {', '.join(allowed)}, when.",
            )


def _wrong(where: str, key: str, what: str, hint: str) -> UserError:
    return UserError(f"{where}: {key} {what}.", hint)


def _hints(groups: Sequence[str]) -> dict[str, Any]:
    options: Any = Recipe()
    for group in groups:
        options = getattr(options, group)
    return option_types(options)


def _hint(key: str) -> Any:
    """The type of a key. If None is allowed too, the other type."""
    *groups, name = key.split(".")
    hint = _hints(groups)[name]
    return typing.get_args(hint)[0] if typing.get_origin(hint) in UNIONS else hint

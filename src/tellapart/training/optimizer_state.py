"""What an optimizer remembers, as tensors and plain values: a checkpoint holds no pickle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from tellapart.errors import Refused, UserError

GroupOptions = Sequence[Mapping[str, Any]]

_PREFIX = "optimizer/"
_SET_BY_US = ("params", "scale", "lr")  # they follow from the network and the step


def group_options(optimizer: Optimizer) -> GroupOptions:
    """The options of each group of parameters, as they are when an optimizer was just made."""
    return [
        {name: copy(value) for name, value in group.items() if name not in _SET_BY_US}
        for group in optimizer.param_groups
    ]


def optimizer_tensors(
    optimizer: Optimizer, first: GroupOptions | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What an optimizer remembers: its tensors, and its plain values.

    The names are "optimizer/<group>/<index>/<name>" for a parameter, and
    "optimizer/<group>/group/<name>" for a group. A parameter that never took a step has none.

    Args:
        optimizer: one of ours, or the user's.
        first: for the user's, what `group_options` gave before its first step: what has changed
            since is remembered too. None for ours, whose options follow from the step.

    Raises:
        UserError: a value is neither a tensor nor plain.
    """
    values = {
        f"{_PREFIX}{group}/{index}/{name}": value
        for group, options in enumerate(optimizer.param_groups)
        for index, parameter in enumerate(options["params"])
        for name, value in optimizer.state.get(parameter, {}).items()
    }
    if first is not None:
        values |= dict(_changed_options(optimizer, first))
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    facts = {name: value for name, value in values.items() if name not in tensors}
    for name, value in facts.items():
        if not _is_plain(value):
            raise _unstorable(optimizer, name.split("/", 3)[-1], value)
    parameters = {
        parameter for options in optimizer.param_groups for parameter in options["params"]
    }
    for key, value in optimizer.state.items():
        if key not in parameters:
            raise _unstorable(optimizer, key, value)
    return tensors, facts


def load_optimizer(
    optimizer: Optimizer,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    *,
    own: bool = False,
) -> None:
    """Give an optimizer of the same parameters what `optimizer_tensors` took from another one, bit
    for bit.

    Args:
        optimizer: it has made no step.
        tensors: also those of a whole checkpoint; the ones of other names are passed over.
        facts: likewise.
        own: whether it is the user's, whose tensors may have any shape.

    Raises:
        Refused: they are of other parameters; the optimizer is unchanged.
    """
    new: dict[Tensor, dict[str, Any]] = {}
    changed: list[tuple[dict[str, Any], str, Any]] = []
    for key, value in {**tensors, **facts}.items():
        if not key.startswith(_PREFIX):
            continue
        _, group, index, name = key.split("/", 3)
        try:
            options = optimizer.param_groups[int(group)]
            if index == "group":
                changed.append((options, name, _as_before(value, options.get(name))))
                continue
            parameter = options["params"][int(index)]
        except IndexError:
            raise _other_parameters(key) from None
        new.setdefault(parameter, {})[name] = _placed(key, value, parameter, options, own=own)
    for options, name, value in changed:
        options[name] = value
    optimizer.state.clear()
    optimizer.state.update(new)


def _changed_options(optimizer: Optimizer, first: GroupOptions) -> Iterator[tuple[str, Any]]:
    """The options of groups that an optimizer changes itself, as those that adapt their rate do."""
    for number, (now, before) in enumerate(zip(group_options(optimizer), first, strict=True)):
        for name, value in now.items():
            old = before.get(name)
            if isinstance(value, Tensor) or not (value is old or value == old):
                yield f"{_PREFIX}{number}/group/{name}", value


def _unstorable(optimizer: Optimizer, name: object, value: object) -> UserError:
    return UserError(
        f"The optimizer {type(optimizer).__name__} keeps {name!r}, a {type(value).__name__}, which"
        " a checkpoint cannot hold without pickle.",
        "Keep tensors, finite numbers and texts, in its groups or for each parameter.",
    )


def _is_plain(value: Any) -> bool:
    """Whether JSON holds a value as it is.

    >>> _is_plain((0.9, None)), _is_plain({1, 2}), _is_plain(float("nan"))
    (True, False, False)
    """
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str)


def _as_before(value: Any, before: Any) -> Any:
    """A list of JSON as the tuple that it was; a tensor where it was."""
    if isinstance(value, list) and isinstance(before, tuple):
        return tuple(value)
    if isinstance(value, Tensor) and isinstance(before, Tensor):
        return value.to(before.device, copy=True)
    return value


def _placed(
    key: str, value: Any, parameter: Tensor, options: Mapping[str, Any], *, own: bool
) -> Any:
    """A value where and how torch would have made it: like the parameter, but for the count of
    steps.
    """
    if not isinstance(value, Tensor):
        return value
    if key.endswith("/step"):
        on_device = options.get("fused") or options.get("capturable")
        return value.to(parameter.device if on_device else value.device, copy=True)
    if value.shape == parameter.shape:
        # In the parameter's own layout: another one could round differently.
        return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
    if own:
        return value.to(parameter.device, copy=True)
    raise _other_parameters(key)


def _other_parameters(key: str) -> Refused:
    return Refused(
        f"The checkpoint is of another network or optimizer: {key} does not fit.",
        "Resume with its recipe.",
    )

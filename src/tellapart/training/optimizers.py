"""The optimizers that a recipe names, each group of parameters at its own rate."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.optim import SGD, Adam, AdamW, Optimizer

from tellapart.errors import UserError, choose
from tellapart.extensions import OptimizerFactory
from tellapart.options import TrainingOptions
from tellapart.recipe import own_choices

# The devices for which torch has one kernel for the whole step. On a CPU it makes the step of a
# small network 2 to 3 times as fast.
FUSED_DEVICES = frozenset(("cpu", "cuda", "mps", "xpu"))


def build_optimizer(
    groups: Sequence[Mapping[str, Any]],
    options: TrainingOptions,
    optimizers: Mapping[str, OptimizerFactory] | None = None,
) -> Optimizer:
    """The recipe's optimizer.

    Args:
        groups: each with "params" and "scale", the multiple of `training.lr` at which they learn.
        options: `optimizer` and what goes with it.
        optimizers: the user's own, by name.

    Returns:
        An optimizer whose groups keep their "scale"; `set_rate` sets the rate of all.

    Raises:
        UserError: there is no such optimizer, or the user's own cannot be used here.
    """
    optimizers = optimizers or {}
    choose(
        "training.optimizer", options.optimizer, (*own_choices("training.optimizer"), *optimizers)
    )
    parameters = [{**group, "params": list(group["params"])} for group in groups]
    if options.optimizer in optimizers:
        made = optimizers[options.optimizer](
            parameters, lr=options.lr, weight_decay=options.weight_decay
        )
        _check_own(options.optimizer, made, groups)
        set_rate(made, options.lr)
        return made
    fused = all(
        parameter.device.type in FUSED_DEVICES and parameter.is_floating_point()
        for group in parameters
        for parameter in group["params"]
    )
    decay = options.weight_decay
    optimizer: Optimizer
    if options.optimizer == "sgd":
        momentum = 0.9 if options.momentum is None else options.momentum
        optimizer = SGD(
            parameters, lr=options.lr, momentum=momentum, weight_decay=decay, fused=fused
        )
        if momentum:
            optimizer.register_step_pre_hook(_begin_momenta)
    else:
        kind = {"adam": Adam, "adamw": AdamW}[options.optimizer]
        optimizer = kind(parameters, lr=options.lr, weight_decay=decay, fused=fused)
    set_rate(optimizer, options.lr)
    return optimizer


def set_rate(optimizer: Optimizer, lr: float) -> None:
    """Give each group `lr` times its own scale."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]


def _check_own(name: str, optimizer: object, groups: Sequence[Mapping[str, Any]]) -> None:
    """Find out before the first step what the loop could not do with the user's optimizer."""
    reason = ""
    if not isinstance(optimizer, Optimizer):
        reason = f"gives a {type(optimizer).__name__}, and no torch.optim.Optimizer"
    elif [len(group["params"]) for group in optimizer.param_groups] != [
        len(list(group["params"])) for group in groups
    ]:
        reason = "has other groups of parameters than those that it was given"
    elif not all("scale" in group for group in optimizer.param_groups):
        reason = 'loses the "scale" of its groups, by which their rates are set'
    elif _needs_closure(optimizer):
        reason = "needs a closure for a step, and a step here has its gradients already"
    if reason:
        raise UserError(
            f"optimizers={{{name!r}: …}} {reason}.",
            "Return an optimizer of the groups as they are, as torch.optim.RMSprop does.",
        )


def _needs_closure(optimizer: Optimizer) -> bool:
    parameters = inspect.signature(optimizer.step).parameters.values()
    empty = inspect.Parameter.empty
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(given.default is empty and given.kind in named for given in parameters)


def _begin_momenta(optimizer: Optimizer, args: object, kwargs: object) -> None:
    """Give zeros to parameters that have no momentum yet. The first step makes the gradient of
    them, with which torch would begin.

    torch's fused kernel fails where some parameters of a group have a momentum and others, unfrozen
    later, do not.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and not optimizer.state[parameter]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

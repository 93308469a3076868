"""A network cut in two at a stage: a trunk that runs once, and a tail that learns from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

import torch
from torch import Tensor, nn

from tellapart.errors import UserError, choose
from tellapart.models.backbones import Embedder, one_thread
from tellapart.models.stages import stage_names

CLOSE = 1e-4


def split_at(embedder: Embedder, stage: str, trial: Tensor) -> tuple[nn.Module, nn.Module]:
    """The network up to and including a stage, and the rest of it.

    Both share their parameters with the embedder.

    Args:
        embedder: the whole network.
        stage: one of `stage_names`, or "all". Then the trunk is the embedder, and the tail does
            nothing.
        trial: (N, C, S, S) images on which the cut is tried.

    Returns:
        The trunk, images (N, C, S, S) → the stage's outputs (N, …), and the tail, these outputs →
        embeddings (N, D).

    Raises:
        UserError: there is no such stage, or the two together do not give what the embedder gives.
    """
    choose("stage", stage, ("all", *stage_names(embedder.network)))
    if stage == "all":
        return _Path(embedder), nn.Identity()
    path = ["embedder", "network", *stage.split(".")]
    with _still(embedder):
        whole = _Path(embedder)
        trunk, tail = _ending_behind(whole, path), _beginning_behind(whole, path)
        same = _same(whole, trunk, tail, trial)
    if not same:
        raise UserError(
            f"This network cannot be cut behind {stage}: what lies behind it needs more than its"
            " outputs.",
            "Leave freeze.views out, or freeze another part.",
        )
    return trunk, tail


class _Reached(Exception):
    """Carries the outputs of a trunk's last stage out of it, so that nothing behind is computed."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = outputs


class _Last(nn.Module):
    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, inputs: Tensor) -> Tensor:
        raise _Reached(self.stage(inputs))


class _Path(nn.Module):
    """Runs the embedder: to its embedding, or to the stage where it ends earlier."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self.embedder = embedder

    def forward(self, inputs: Tensor) -> Tensor:
        try:
            return self.embedder(inputs)[0]  # type: ignore[no-any-return]
        except _Reached as reached:
            return reached.outputs


def _ending_behind(module: nn.Module, path: list[str]) -> nn.Module:
    """A shallow copy along the path, in which the path's end is the last to run."""
    if not path:
        return _Last(module)
    return _with_children(
        module, {path[0]: _ending_behind(module.get_submodule(path[0]), path[1:])}
    )


def _beginning_behind(module: nn.Module, path: list[str]) -> nn.Module:
    """A shallow copy along the path, in which the path's end and all that is registered before it
    do nothing.
    """
    if not path:
        return nn.Identity()
    names = list(module._modules)
    skipped: dict[str, nn.Module] = {name: nn.Identity() for name in names[: names.index(path[0])]}
    tail = _with_children(
        module, {**skipped, path[0]: _beginning_behind(module.get_submodule(path[0]), path[1:])}
    )
    # timm's vision transformers add positions between two modules, ahead of the blocks.
    if hasattr(tail, "_pos_embed"):
        tail._pos_embed = _unchanged  # type: ignore[assignment]
    return tail


def _with_children(module: nn.Module, changed: dict[str, nn.Module]) -> nn.Module:
    twin = copy(module)
    twin._modules = {**module._modules, **changed}
    return twin


@contextmanager
def _still(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode for a trial, which must not move BatchNorm's statistics."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training


def _unchanged(inputs: Tensor) -> Tensor:
    return inputs


def _same(whole: nn.Module, trunk: nn.Module, tail: nn.Module, trial: Tensor) -> bool:
    try:
        with torch.inference_mode(), one_thread():
            return torch.allclose(tail(trunk(trial)), whole(trial), rtol=CLOSE, atol=CLOSE)
    except (RuntimeError, TypeError, AttributeError, ValueError, AssertionError):
        return False  # the tail met other shapes, or more than one tensor, than it takes

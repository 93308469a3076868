"""The stages of a network: which of them learn, and at what rate."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tellapart.errors import UserError, choose
from tellapart.models.classifier import Classifier
from tellapart.models.user_network import UserNetwork
from tellapart.options import FreezeOptions, TrainingOptions

OPENED = ("blocks", "stages", "layers", "features")  # containers whose children are stages each


def stage_names(network: nn.Module) -> tuple[str, ...]:
    """The names that `freeze.upto` takes, in forward order: the stages that have parameters."""
    return tuple(name for name, part in _parts(network) if _has_parameters(part))


def learn_from(classifier: Classifier, upto: str | None) -> None:
    """Freeze the backbone up to and including the stage `upto`, and let all else learn.

    "all" freezes the whole backbone, and None freezes nothing.

    Raises:
        UserError: there is no such stage.
    """
    frozen = _number_frozen(stage_names(classifier.embedder.network), upto)
    for parameter in classifier.head.parameters():
        parameter.requires_grad_(True)
    for parameter, depth in _depths(classifier.embedder.network):
        parameter.requires_grad_(depth >= frozen)


def set_modes(classifier: Classifier, freeze_batch_norm: bool) -> None:
    """Put what learns into training mode, and what is frozen into evaluation mode.

    In evaluation mode dropout drops nothing. The statistics of BatchNorm stay as they are there,
    unless `freeze_batch_norm` is false.
    """
    network = classifier.embedder.network
    classifier.train()
    network.train(any(parameter.requires_grad for parameter in network.parameters()))
    learns = False
    for _, part in _parts(network):  # a part without parameters goes with the stage before it
        learns = _learns(part) if _has_parameters(part) else learns
        part.train(learns)
    if not freeze_batch_norm:
        for module in network.modules():
            module.training |= isinstance(module, _BatchNorm)


def unfreezing(options: FreezeOptions) -> list[tuple[int, str]]:
    """The steps of `freeze.unfreeze` as pairs of epochs done and stage.

    From then on the stage and all behind it learn. A share, as "40%", stays frozen instead.
    """
    pairs = (step.split(":", 1) for step in options.unfreeze)
    return [(int(epochs), stage) for epochs, stage in pairs]


def frozen_upto(options: FreezeOptions, stages: Sequence[str], epochs_done: int) -> str | None:
    """The last stage that does not learn after so many epochs, as `learn_from` takes it.

    Args:
        options: `upto` and `unfreeze`.
        stages: `stage_names` of the network.
        epochs_done: the number of epochs that are done.

    Raises:
        UserError: the network has no such stage, or a step does not come later or does not let more
            learn than the step before it.

    >>> options = FreezeOptions(upto="all", unfreeze=("2:layer4", "4:all"))
    >>> [frozen_upto(options, ["conv1", "layer3", "layer4"], done) for done in (1, 2, 3, 4)]
    ['all', 'layer3', 'layer3', None]
    """
    frozen, epochs_before = _number_frozen(stages, options.upto), 0
    last = options.upto if options.upto in (None, "all") else stages[frozen - 1]
    for epochs, stage in unfreezing(options):
        left = 0 if stage == "all" else _number_frozen(stages, stage) - (not stage.endswith("%"))
        if epochs <= epochs_before or left >= frozen:
            raise UserError(
                f"freeze.unfreeze: {epochs}:{stage} must come later than the step before it, and"
                " let more learn.",
                f"From the image on, the stages are {', '.join(stages)}; of them, {frozen} are"
                " frozen then.",
            )
        frozen, epochs_before = left, epochs
        if epochs <= epochs_done:
            last = stages[left - 1] if left else None
    return last


def parameter_groups(classifier: Classifier, options: TrainingOptions) -> list[dict[str, Any]]:
    """Groups for a torch optimizer: "params", and "scale", the multiple of the learning rate.

    The scale is 1 for the head and `backbone_lr` for the last stage. Each stage has that of the
    next one times `layer_decay`. Every parameter is in one group, also while it is frozen: it may
    learn later. Without `decay_norms`, biases and the parameters of norms are in groups whose
    "weight_decay" is 0.
    """
    network = classifier.embedder.network
    last = len(stage_names(network)) - 1
    scales = [
        (parameter, options.backbone_lr * options.layer_decay ** (last - depth))
        for parameter, depth in _depths(network)
    ]
    scales += [(parameter, 1.0) for parameter in classifier.head.parameters()]
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter, scale in scales:
        decays = options.decay_norms or parameter.ndim > 1
        groups.setdefault((scale, decays), []).append(parameter)
    undecayed = {"weight_decay": 0.0}
    return [
        {"params": parameters, "scale": scale, **({} if decays else undecayed)}
        for (scale, decays), parameters in groups.items()
    ]


def _parts(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The children of a network in the order of their registration, which is the forward order.

    A container of blocks gives its blocks instead of itself.
    """
    if isinstance(network, UserNetwork):
        inner = list(_parts(network.body))
        if any(_has_parameters(part) for _, part in inner):
            yield from ((f"body.{name}", part) for name, part in inner)
        else:
            yield "body", network.body
        return
    for name, child in network.named_children():
        if name in OPENED and isinstance(child, nn.Sequential | nn.ModuleList):
            yield from ((f"{name}.{inner}", block) for inner, block in child.named_children())
        else:
            yield name, child


def _depths(network: nn.Module) -> list[tuple[nn.Parameter, int]]:
    """Each parameter of the backbone once, with the number of its stage.

    A parameter that is in no stage goes with the first.
    """
    stages = stage_names(network)
    # In reverse, so that a parameter that stages share goes with the first of them.
    depth_of = {
        parameter: depth
        for depth, stage in reversed(list(enumerate(stages)))
        for parameter in network.get_submodule(stage).parameters()
    }
    return [(parameter, depth_of.get(parameter, 0)) for parameter in network.parameters()]


def _number_frozen(stages: Sequence[str], upto: str | None) -> int:
    if upto is None or upto == "all":
        return 0 if upto is None else len(stages)
    if re.fullmatch("[1-9][0-9]?%", upto):
        return max(1, len(stages) * int(upto[:-1]) // 100)
    return stages.index(choose("stage", upto, ("all", *stages))) + 1


def _has_parameters(module: nn.Module) -> bool:
    return any(True for _ in module.parameters())


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())

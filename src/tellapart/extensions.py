"""Your own parts of a training, given by name: networks, losses, optimizers, schedules, transforms
and metrics.

    train("photos/", recipe="finetune", losses={"focal": focal}, set={"training.loss": "focal"})

A recipe names a part by its key; the part itself is an object in Python. So a run that has such
parts records their names, and whoever resumes it gives the parts again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from tellapart.errors import UserError
from tellapart.recipe import Recipe, Supplied, choose_name, own_choices

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

KEYS = {  # kind of part → the recipe key that names it
    "networks": "backbone.name",
    "losses": "training.loss",
    "optimizers": "training.optimizer",
    "schedules": "training.schedule",
    "transforms": "augmentation.transforms",
    "metrics": "training.monitor",
}
_NAME = re.compile(r"[\w.-]+")  # a list of names in a recipe is separated by commas

Loss = Callable[["Tensor", "Tensor"], "Tensor"]
"""(logits (N, C) float32, targets) → the loss of each image (N,). Targets are labels (N,) int64, or
shares of the classes (N, C) where MixUp or CutMix mixes images. The weights of classes and the mean
over the batch are tellapart's.
"""

OptimizerFactory = Callable[..., "Optimizer"]
"""(parameter groups, lr=…, weight_decay=…) → an optimizer, as most classes of torch.optim are. Each
group has "params" and "scale", the multiple of lr at which it learns; tellapart sets the rates.
"""

Schedule = Callable[[int, int, int], float]
"""(step from 0, steps of the training, steps of an epoch) → a multiple of training.lr."""

Transform = Callable[["Tensor"], "Tensor"]
"""An image (3, S, S) uint8 → another of the same shape, uint8 or float in [0, 1]. The transforms of
torchvision.transforms.v2 fit as they are. What it draws from torch, numpy.random or random is
decided by seed, epoch and image.
"""

Metric = Callable[[Any], float]
"""The `Predictions` of a split → a number. It is better when lower if its name ends in loss or
error.
"""


@dataclass(frozen=True)
class Network:
    """A network of your own, without its classifier.

    A network that `timm.register_model` added needs no `Network`: backbone.name takes its name, and
    what timm knows of it holds.

    Args:
        build: an `nn.Module`, which is copied, or a function that returns one. It takes images
            (N, 3, S, S) float32, or (N, 1, S, S) with preprocessing.grey. It returns embeddings
            (N, width), or feature maps (N, width, h, w), which are averaged over their area.
        width: the number of values in an embedding.
        size_px: the side S of its images.
        mean: of R, G and B for pixels in [0, 1], which is subtracted.
        std: of R, G and B, which divides.
        licence: of its weights, for the card of the model file.
    """

    build: nn.Module | Callable[[], nn.Module]
    width: int
    size_px: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    licence: str = "unknown"

    def __post_init__(self) -> None:
        for name, ok, rule in (
            ("build", callable(self.build), "must be an nn.Module or a function that returns one"),
            ("width", self.width >= 1, "must be 1 or more"),
            ("size_px", 32 <= self.size_px <= 2048, "must be 32 to 2,048"),
            ("mean", len(self.mean) == 3, "must be three numbers"),
            ("std", len(self.std) == 3 and min(self.std) > 0, "must be three numbers above 0"),
        ):
            if not ok:
                raise UserError(f"Network.{name} {rule}, got {getattr(self, name)!r}.")


class Parts(TypedDict, total=False):
    """The keyword arguments by which a verb takes parts of your own, as `Extensions` has them."""

    networks: Mapping[str, Network]
    losses: Mapping[str, Loss]
    optimizers: Mapping[str, OptimizerFactory]
    schedules: Mapping[str, Schedule]
    transforms: Mapping[str, Transform]
    metrics: Mapping[str, Metric]


@dataclass(frozen=True, kw_only=True)
class Extensions:
    """All parts of your own that a training may use: name → part.

    Args:
        networks: chosen by backbone.name.
        losses: chosen by training.loss.
        optimizers: chosen by training.optimizer.
        schedules: chosen by training.schedule.
        transforms: chosen by augmentation.transforms, which takes several.
        metrics: all are measured; training.monitor may choose one.
    """

    networks: Mapping[str, Network] = field(default_factory=dict)
    losses: Mapping[str, Loss] = field(default_factory=dict)
    optimizers: Mapping[str, OptimizerFactory] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    transforms: Mapping[str, Transform] = field(default_factory=dict)
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind in KEYS:
            parts = getattr(self, kind)
            if not isinstance(parts, Mapping):
                raise UserError(
                    f"{kind} must be a mapping of names, got {type(parts).__name__}.",
                    f"Give {kind}={{'NAME': …}}.",
                )
            for name, part in parts.items():
                _check_part(kind, name, part)

    @property
    def names(self) -> Supplied:
        """Recipe key → the names that it takes besides tellapart's own."""
        return {key: tuple(getattr(self, kind)) for kind, key in KEYS.items()}

    def check_known(self, recipe: Recipe) -> None:
        """Refuse a recipe that names a part which is neither tellapart's own nor given here.

        Names of networks and metrics are checked where timm and the metrics are at hand.

        Raises:
            UserError: a name is unknown. The message has the nearest one.
        """
        for kind, names in self._chosen(recipe).items():
            for name in names if kind not in ("networks", "metrics") else ():
                choose_name(KEYS[kind], name, (*own_choices(KEYS[kind]), *getattr(self, kind)))

    def _chosen(self, recipe: Recipe) -> dict[str, Sequence[str]]:
        """Kind → the names that the recipe has under its key; of metrics, all that are given."""
        return {
            "networks": [recipe.backbone.name],
            "losses": [recipe.training.loss],
            "optimizers": [recipe.training.optimizer],
            "schedules": [recipe.training.schedule],
            "transforms": recipe.augmentation.transforms,
            "metrics": list(self.metrics),
        }

    def used_by(self, recipe: Recipe) -> dict[str, list[str]]:
        """Kind → the names of the parts that a training by this recipe uses, as run.json records
        them.

        >>> Extensions(metrics={"cost": len}).used_by(Recipe(method="fit"))
        {'metrics': ['cost']}
        """
        used = {
            kind: [name for name in names if name in getattr(self, kind)]
            for kind, names in self._chosen(recipe).items()
            if recipe.by_gradient or kind == "networks"
        }
        return {kind: names for kind, names in used.items() if names}

    def check_given(self, recorded: Mapping[str, Sequence[str]]) -> None:
        """Refuse to go on with a run whose own parts are not given again.

        Args:
            recorded: what `used_by` gave when the run began.

        Raises:
            UserError: some are missing; the message names all of them.

        >>> Extensions(losses={"focal": max}).check_given({"losses": ["focal"]})
        """
        missing = {
            kind: [name for name in names if name not in getattr(self, kind)]
            for kind, names in recorded.items()
        }
        missing = {kind: names for kind, names in missing.items() if names}
        if missing:
            words = " and ".join(
                f"{kind}={{{', '.join(f'{name!r}: …' for name in names)}}}"
                for kind, names in missing.items()
            )
            them = "them" if sum(map(len, missing.values())) > 1 else "it"
            raise UserError(
                f"This run uses {words}.",
                f"Pass {them} to train(resume=…) again; the command line cannot.",
            )

    def unused_by(self, recipe: Recipe) -> list[str]:
        """A note for each part that was given and that no key of the recipe names.

        >>> Extensions(losses={"focal": len}).unused_by(Recipe(method="fit"))
        ["losses={'focal': …} is not used, since training.loss is cross_entropy"]
        """
        used = self.used_by(recipe)
        reasons = {
            kind: f"{KEYS[kind]} is {','.join(names) or 'empty'}"
            if recipe.by_gradient or kind == "networks"
            else f"method is {recipe.method}"
            for kind, names in self._chosen(recipe).items()
            if kind != "metrics"
        }
        return [
            f"{kind}={{{name!r}: …}} is not used, since {reason}"
            for kind, reason in reasons.items()
            for name in getattr(self, kind)
            if name not in used.get(kind, ())
        ]


def _check_part(kind: str, name: Any, part: Any) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UserError(
            f"{kind} has the name {name!r}.", "Use letters, digits, dots, hyphens and underscores."
        )
    if name in own_choices(KEYS[kind]):
        raise UserError(
            f"{kind} has the name {name!r}, which tellapart's own has.", "Take another name."
        )
    if kind == "networks" and not isinstance(part, Network):
        raise UserError(
            f"networks={{{name!r}: …}} is a {type(part).__name__}.",
            "Give tellapart.Network(build, width).",
        )
    if not (kind == "networks" or callable(part)):
        raise UserError(f"{kind}={{{name!r}: …}} is a {type(part).__name__}.", "Give a function.")

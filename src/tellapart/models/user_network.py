"""A network of the user's own, as a backbone: with the interface that timm's networks have."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from tellapart.errors import UserError
from tellapart.extensions import Network
from tellapart.models.trial import trial_tensor


class UserNetwork(nn.Module):
    """The user's module, whose feature map is averaged over its area where it gives one.

    Args:
        body: images (N, C, S, S) float32 → embeddings (N, D), or feature maps (N, D, h, w). Its
            children are the stages, "body.NAME" each.
    """

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward_features(self, images: Tensor) -> Tensor:
        """The outputs of the user's module."""
        return self.body(images)  # type: ignore[no-any-return]

    def forward_head(self, features: Tensor, pre_logits: bool = True) -> Tensor:
        """The outputs of the user's module → embeddings (N, D)."""
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, S, S) → embeddings (N, D)."""
        return self.forward_head(self.forward_features(images))


def build_user_network(name: str, network: Network, channels: int, size_px: int) -> UserNetwork:
    """The user's network in evaluation mode, tried on an image.

    Args:
        name: by which it was given.
        network: what the user gave; a module is copied, so that the user's own never learns.
        channels: that its images have.
        size_px: the side of its images.

    Raises:
        UserError: it cannot be built, cannot take such an image, or gives no embedding of the
            width that was stated.
    """
    where = f"networks={{{name!r}: …}}"
    if isinstance(network.build, nn.Module):
        module: object = deepcopy(network.build)
    else:
        module = network.build()
    if not isinstance(module, nn.Module):
        raise UserError(
            f"{where} builds a {type(module).__name__}.", "Return an nn.Module from its function."
        )
    module = module.to("cpu", torch.float32).eval()
    trial = trial_tensor(1, channels, size_px, size_px)
    try:
        with torch.inference_mode():
            output = module(trial)
    except Exception as error:  # the user's code raises whatever it raises
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise UserError(
            f"{where} cannot take an image {list(trial.shape)} ({reason}).",
            "State the size that it takes: Network(…, size_px=…).",
        ) from error
    if not isinstance(output, Tensor) or output.ndim not in (2, 4):
        given = list(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise UserError(
            f"{where} gives {given} for one image.",
            "Return embeddings (N, width), or feature maps (N, width, h, w).",
        )
    if output.shape[1] != network.width:
        raise UserError(
            f"{where} gives {output.shape[1]} values for an image, and its width is"
            f" {network.width}.",
            "State the width of its embedding, without a classifier: Network(build, width=…).",
        )
    return UserNetwork(module).eval()

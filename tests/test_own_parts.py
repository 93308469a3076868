"""Losses, optimizers, schedules and transforms of the user's own, in the loop."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from helpers.catalogs import scan_folder
from helpers.images import write_classes
from helpers.training import run_fit, same_bits, training_data_of
from tellapart.errors import UserError
from tellapart.extensions import Extensions
from tellapart.images.augmentation import augment
from tellapart.images.batches import ImageInputs
from tellapart.keyed import keyed_numbers
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.options import AugmentationOptions, TrainingOptions
from tellapart.training.events import Event
from tellapart.training.losses import build_loss
from tellapart.training.optimizers import build_optimizer
from tellapart.training.phases import TrainingData
from tellapart.training.schedules import rate_at, rate_curve

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """15 train images of three classes, and 6 of val."""
    folder = write_classes(tmp_path_factory.mktemp("own") / "photos", 7)
    return training_data_of(scan_folder(folder))


def stop_after(step: int) -> Any:
    """A callback that interrupts a training as a kill does, after a step."""

    def callback(event: Event) -> None:
        if (event.name, event.step) == ("iteration_completed", step):
            raise KeyboardInterrupt

    return callback


def resumed(folder: Path, data: TrainingData, changes: dict[str, Any], parts: Extensions) -> Any:
    """A training that was killed after its third step, and then went on."""
    often = {**changes, "training.checkpoint_seconds": 0}
    with pytest.raises(KeyboardInterrupt):
        run_fit(folder, data, often, callbacks=[stop_after(3)], extensions=parts)
    return run_fit(folder, data, often, extensions=parts)


# ── losses ──


def plain(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(logits, targets, reduction="none")


def test_a_loss_of_ones_own_learns_as_ours_does(tmp_path: Path, data: TrainingData):
    parts = Extensions(losses={"mine": plain})
    mine = run_fit(tmp_path / "mine", data, {"training.loss": "mine"}, extensions=parts)
    assert same_bits(mine.weights, run_fit(tmp_path / "ours", data).weights)


def test_a_loss_of_ones_own_meets_shares_where_images_are_mixed(tmp_path: Path, data: TrainingData):
    seen: list[Tensor] = []
    parts = Extensions(
        losses={"mine": lambda logits, targets: seen.append(targets) or logits.sum(1)}
    )
    changes = {"training.loss": "mine", "augmentation.mixup": 1.0, "training.epochs": 1}
    run_fit(tmp_path, data, changes, extensions=parts)
    assert (seen[0].shape, seen[0].dtype) == ((8, 3), torch.float32)


@pytest.mark.parametrize(
    ("wrong", "given"),
    [
        (lambda logits, targets: plain(logits, targets).mean(), r"\[\]"),
        (lambda logits, targets: logits, r"\[2, 3\]"),
        (lambda logits, targets: 0.5, "float"),
    ],
)
def test_a_loss_that_is_no_number_an_image_is_refused(wrong: Any, given: str):
    loss = build_loss(TrainingOptions(loss="mine"), {"mine": wrong})
    with pytest.raises(UserError, match=rf"losses={{'mine': …}} gives {given} for 2 images"):
        loss(torch.zeros(2, 3), torch.tensor([0, 1]))


def test_a_loss_that_nobody_gave_is_refused():
    with pytest.raises(UserError, match=r"Unknown training.loss 'focal'"):
        build_loss(TrainingOptions(loss="focal"), {})


# ── optimizers ──


class Momentum(torch.optim.Optimizer):
    """SGD with momentum, written by hand; it counts its steps in its groups."""

    def __init__(self, groups: Any, lr: float, weight_decay: float) -> None:
        super().__init__(
            groups, {"lr": lr, "weight_decay": weight_decay, "seen": 0, "ends": (1, 2)}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            group["seen"] += 1
            for parameter in group["params"]:
                state = self.state[parameter]
                buffer = state.setdefault("buffer", torch.zeros_like(parameter))
                state["rows"] = torch.full((2, 3), float(group["seen"]))
                buffer.mul_(0.9).add_(parameter.grad)
                parameter.sub_(group["lr"] * buffer)


MOMENTUM = Extensions(optimizers={"mine": Momentum})


def test_an_optimizer_of_ones_own_learns_as_ours_does(tmp_path: Path, data: TrainingData):
    mine = run_fit(tmp_path / "mine", data, {"training.optimizer": "mine"}, extensions=MOMENTUM)
    ours = run_fit(tmp_path / "ours", data)
    torch.testing.assert_close(mine.weights, ours.weights, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("optimizer", [Momentum, torch.optim.Adafactor, torch.optim.NAdam])
def test_a_run_with_an_optimizer_of_ones_own_goes_on_exactly(
    tmp_path: Path, data: TrainingData, optimizer: Any
):
    parts = Extensions(optimizers={"mine": optimizer})
    changes = {"training.optimizer": "mine", "training.weight_decay": 0.01}
    whole = run_fit(tmp_path / "whole", data, changes, extensions=parts)
    halves = resumed(tmp_path / "halves", data, changes, parts)
    assert same_bits(halves.weights, whole.weights)
    assert same_bits(halves.last.tensors, whole.last.tensors)


def test_what_an_optimizer_changes_in_its_groups_is_kept(tmp_path: Path, data: TrainingData):
    outcome = resumed(tmp_path, data, {"training.optimizer": "mine"}, MOMENTUM)
    assert outcome.last.facts["optimizer/0/group/seen"] == outcome.progress.step
    assert "optimizer/0/group/ends" not in outcome.last.facts


def test_each_group_of_an_optimizer_of_ones_own_has_its_rate(tmp_path: Path, data: TrainingData):
    rates: list[list[float]] = []

    class Watched(Momentum):
        def step(self, closure: None = None) -> None:
            rates.append([group["lr"] for group in self.param_groups])
            super().step(closure)

    changes = {"training.optimizer": "mine", "training.backbone_lr": 0.5, "training.epochs": 1}
    changes["training.schedule"] = "constant"
    run_fit(tmp_path, data, changes, extensions=Extensions(optimizers={"mine": Watched}))
    assert rates[0] == [0.01, 0.02]


class Remembering(Momentum):
    """Keeps a set, which no checkpoint without pickle can hold."""

    def step(self, closure: None = None) -> None:
        super().step(closure)
        self.state[self.param_groups[0]["params"][0]]["shapes"] = {1, 2}


class Global(Momentum):
    """Keeps a tensor that is of no parameter."""

    def step(self, closure: None = None) -> None:
        super().step(closure)
        self.state["all"]["mean"] = torch.ones(1)


@pytest.mark.parametrize(("optimizer", "name"), [(Remembering, "shapes"), (Global, "all")])
def test_a_state_that_no_checkpoint_holds_is_refused_after_the_first_step(
    tmp_path: Path, data: TrainingData, optimizer: Any, name: str
):
    parts = Extensions(optimizers={"mine": optimizer})
    words = f"The optimizer {optimizer.__name__} keeps '{name}', a .*without pickle"
    with pytest.raises(UserError, match=words):
        run_fit(tmp_path, data, {"training.optimizer": "mine"}, extensions=parts)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (lambda groups, lr, weight_decay: None, "gives a NoneType"),
        (
            lambda groups, lr, weight_decay: Momentum(groups[0]["params"], lr, weight_decay),
            'loses the "scale" of its groups',
        ),
        (
            lambda groups, lr, weight_decay: Momentum(groups[0]["params"][:1], lr, weight_decay),
            "has other groups of parameters",
        ),
        (
            lambda groups, lr, weight_decay: torch.optim.LBFGS(groups[0]["params"]),
            'loses the "scale"',
        ),
    ],
)
def test_an_optimizer_that_the_loop_cannot_use_is_refused_at_once(wrong: Any, reason: str):
    groups = [{"params": [torch.nn.Parameter(torch.ones(2)) for _ in range(2)], "scale": 1.0}]
    with pytest.raises(UserError, match=rf"optimizers={{'mine': …}} {reason}"):
        build_optimizer(groups, TrainingOptions(optimizer="mine"), {"mine": wrong})


def test_an_optimizer_that_needs_a_closure_is_refused_at_once():
    class Sharpness(Momentum):
        def step(self, closure: Any) -> None: ...

    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "scale": 1.0}]
    with pytest.raises(UserError, match="needs a closure"):
        build_optimizer(groups, TrainingOptions(optimizer="mine"), {"mine": Sharpness})


# ── schedules ──


def test_a_schedule_of_ones_own_sets_the_rate_of_each_step(tmp_path: Path, data: TrainingData):
    def saw(step: int, steps: int, per_epoch: int) -> float:
        return 1 - (step % per_epoch) / per_epoch

    parts = Extensions(schedules={"saw": saw})
    outcome = run_fit(tmp_path, data, {"training.schedule": "saw"}, extensions=parts)
    rates = [event.lr for event in outcome.events if event.name == "iteration_completed"]
    assert rates == pytest.approx([0.02, 0.01] * 3)


def test_a_schedule_of_ones_own_is_drawn_in_the_report():
    options = TrainingOptions(schedule="saw", lr=0.1)
    curve = rate_curve(
        2, 2, options, schedules={"saw": lambda step, steps, per_epoch: step / steps}
    )
    assert curve == ((0.0, 0.0), (0.5, 0.05))


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf"), None, "fast"])
def test_a_schedule_that_gives_no_rate_is_refused(rate: Any):
    options = TrainingOptions(schedule="saw")
    with pytest.raises(UserError, match=r"schedules={'saw': …} gives .* for step 3 of 9"):
        rate_at(3, 9, 3, options, {"saw": lambda *steps: rate})


def test_a_schedule_that_nobody_gave_is_refused():
    with pytest.raises(UserError, match=r"Unknown training.schedule 'saw'"):
        rate_at(0, 9, 3, TrainingOptions(schedule="saw"))


# ── transforms ──

FILL = (0.5, 0.5, 0.5)
IMAGES = torch.randint(0, 256, (6, 3, 32, 32), generator=torch.manual_seed(0)).to(torch.uint8)
KEYS = keyed_numbers(0, "sample", map(str, range(6)))
NONE = AugmentationOptions()


def test_a_transform_of_torchvision_is_taken_as_it_is():
    seen = augment(IMAGES, KEYS, NONE, FILL, [("grey", v2.Grayscale(num_output_channels=3))])
    expected = v2.functional.rgb_to_grayscale(IMAGES, num_output_channels=3)
    torch.testing.assert_close(seen * 255, expected.float(), atol=1e-4, rtol=0)


def test_transforms_follow_each_other_in_the_order_of_their_names():
    transforms = [("dark", lambda image: image // 2), ("less", lambda image: image - image % 2)]
    seen = augment(IMAGES, KEYS, NONE, FILL, transforms) * 255
    torch.testing.assert_close(seen, (IMAGES // 2 - IMAGES // 2 % 2).float(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "transform",
    [
        v2.RandomResizedCrop(32, antialias=True),
        v2.ColorJitter(0.5, 0.5, 0.5, 0.2),
        lambda image: image if random.random() < 0.5 else image.flip(2),
        lambda image: image.roll(int(np.random.randint(32)), 1),
    ],
)
def test_what_a_transform_draws_is_a_function_of_the_images_key(transform: Any):
    order = np.array([4, 0, 5, 2, 1, 3])
    seen = augment(IMAGES, KEYS, NONE, FILL, [("mine", transform)])
    again = augment(IMAGES[order], KEYS[order], NONE, FILL, [("mine", transform)])
    assert torch.equal(again, seen[order])
    other = augment(
        IMAGES, keyed_numbers(1, "sample", map(str, range(6))), NONE, FILL, [("mine", transform)]
    )
    assert not torch.equal(other, seen)


def test_transforms_leave_the_generators_as_they_were():
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1]
    augment(IMAGES, KEYS, NONE, FILL, [("mine", v2.RandomErasing(p=1.0))])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])


def test_a_transform_may_give_floats():
    scaled = v2.ToDtype(torch.float32, scale=True)
    seen = augment(IMAGES, KEYS, NONE, FILL, [("float", scaled)])
    torch.testing.assert_close(seen, IMAGES.float() / 255)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (v2.Resize(16), r"makes \[3, 16, 16\] of an image \[3, 32, 32\]"),
        (v2.ToPILImage(), "makes Image of an image"),
        (lambda image: image.long(), "gives an image of torch.int64"),
    ],
)
def test_a_transform_that_gives_no_image_is_refused(wrong: Any, words: str):
    with pytest.raises(UserError, match=f"transforms={{'mine': …}} {words}"):
        augment(IMAGES, KEYS, NONE, FILL, [("mine", wrong)])


def test_a_run_with_transforms_goes_on_exactly(tmp_path: Path, data: TrainingData):
    jitter = v2.ColorJitter(0.5, 0.5, 0.5, 0.2)
    parts = Extensions(transforms={"jitter": jitter, "crop": v2.RandomCrop(32, padding=4)})
    changes = {"augmentation.transforms": "crop,jitter", "augmentation.flip": 0.5}
    whole = run_fit(tmp_path / "whole", data, changes, extensions=parts)
    halves = resumed(tmp_path / "halves", data, changes, parts)
    assert same_bits(halves.weights, whole.weights)
    assert not same_bits(whole.weights, run_fit(tmp_path / "none", data).weights)


def test_val_is_never_transformed(tmp_path: Path, data: TrainingData):
    black = Extensions(transforms={"black": torch.zeros_like})
    changes = {"augmentation.transforms": "black", "training.lr": 1e-9, "training.epochs": 1}
    row = run_fit(tmp_path / "black", data, changes, extensions=black).progress.history[0]
    plainly = run_fit(tmp_path / "plain", data, {**changes, "augmentation.transforms": ""})
    assert row["val_loss"] == pytest.approx(plainly.progress.history[0]["val_loss"], abs=1e-5)


def test_a_transform_that_nobody_gave_is_refused(data: TrainingData):
    options = AugmentationOptions(transforms=("smear",))
    device, layout = torch.device("cpu"), torch.contiguous_format
    with pytest.raises(UserError, match="Unknown transform 'smear'"):
        ImageInputs(data.train, Preprocessing(size_px=32), options, device, layout)

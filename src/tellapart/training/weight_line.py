"""The networks on the line between where a training started and where it ended.

Fine-tuning moves weights further than a small set of images can vouch for. Somewhere on the line
between the two networks' weights is often a better one than either end.

Source: Wortsman et al. 2022, https://arxiv.org/abs/2109.01903 (weight-space ensembles).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tellapart.errors import UserError
from tellapart.images.batches import Group, ImageInputs
from tellapart.images.store import Images
from tellapart.keyed import keyed_numbers
from tellapart.models.classifier import Classifier
from tellapart.models.cut import split_at
from tellapart.models.stages import stage_names
from tellapart.models.trial import trial_images
from tellapart.options import AugmentationOptions
from tellapart.training.checkpoints import NotFinite
from tellapart.training.losses import probabilities
from tellapart.training.phases import TrainingData
from tellapart.training.runtime import RuntimeSettings, running

SHARES = (0.25, 0.5, 0.75, 1.0)  # how far along the line; at 0 is the start
MEASURED_IMAGES = 256  # train images on which BatchNorm's statistics are measured again
AT_ONCE = 32  # images


def images_on_line(num_train: int, num_val: int) -> int:
    """How many images the networks on the line are shown, when all of them are tried.

    >>> images_on_line(1000, 100)
    1268
    """
    measured = min(MEASURED_IMAGES, num_train)
    return (1 + len(SHARES)) * num_val + (len(SHARES) - 1) * measured


def weights_of(classifier: Classifier) -> dict[str, Tensor]:
    """A copy of all tensors of a network."""
    return {name: tensor.detach().clone() for name, tensor in classifier.state_dict().items()}


class WeightLine:
    """The networks between two networks, one of which is in the classifier at a time.

    Between the ends, the statistics of BatchNorm are measured on train images, as they are: the mean
    of two networks' statistics belongs to neither.

    Args:
        classifier: it holds the network at the end of the line, and later any on the line.
        start: the tensors at the start of the line, as `weights_of` gives them.
        data: the train images to measure on, and the val images to judge by.
        runtime: threads and memory format.
        device: where the classifier is.
        seed: decides which train images are measured on.
    """

    def __init__(
        self,
        classifier: Classifier,
        start: Mapping[str, Tensor],
        data: TrainingData,
        runtime: RuntimeSettings,
        device: torch.device,
        seed: int,
    ) -> None:
        self._classifier, self._data, self._runtime = classifier.eval(), data, runtime
        self._start = {name: tensor.to(device) for name, tensor in start.items()}
        self._end = weights_of(classifier)
        self._device = device
        self._changed = {
            name for name, tensor in self._end.items() if not torch.equal(tensor, self._start[name])
        }
        self._norms = [
            module
            for name, module in classifier.named_modules()
            if isinstance(module, _BatchNorm) and f"{name}.running_mean" in self._changed
        ]
        self._measured = _some_positions(data.train, seed)
        self._trunk, self._tail = self._cut()
        self._kept: dict[str, list[tuple[Tensor, NDArray[np.bool_]]]] = {}

    @torch.no_grad()
    def go_to(self, share: float) -> None:
        """Put the network at this share of the way from the start to the end into the classifier."""
        between = {
            name: torch.lerp(self._start[name], end, share)
            if name in self._changed and end.is_floating_point() and share < 1
            else end
            for name, end in self._end.items()
        }
        if share == 0:
            between = self._start
        self._classifier.load_state_dict(between)
        if 0 < share < 1 and self._norms:
            with running(self._runtime):
                self._measure_norms()

    @torch.no_grad()
    def answers(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """What the network in the classifier says of val: probabilities (N, C), and which images are
        present. The rows of lost images are 0.

        Raises:
            NotFinite: a probability is NaN or infinite.
        """
        val = self._data.val
        assert val is not None, "there is no val"
        probs = np.zeros((len(val), len(val.classes)), np.float32)
        present = np.zeros(len(val), bool)
        begin = 0
        with running(self._runtime):
            for inputs, mask in self._batches("val", val, np.arange(len(val))):
                places = begin + np.flatnonzero(mask)
                begin += len(mask)
                if len(places):
                    probs[places] = probabilities(self._tail(inputs)).cpu().numpy()
                    present[places] = True
        if not np.isfinite(probs).all():
            raise NotFinite("What the network predicts holds NaN.")
        return probs, present

    def _measure_norms(self) -> None:
        """Measure the statistics of BatchNorm where the training moved them: plain means over the
        batches.
        """
        momenta = [norm.momentum for norm in self._norms]
        for norm in self._norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        for inputs, _ in self._batches("train", self._data.train, self._measured):
            # A single image may be a single pixel there, which has no variance.
            if len(inputs) > 1:
                self._tail(inputs)
        for norm, momentum in zip(self._norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()

    def _cut(self) -> tuple[nn.Module | None, nn.Module]:
        """What is the same in all networks of the line and runs once, and the rest of the network.

        None where nothing is the same, the network cannot be cut, or the outputs take too much
        memory.
        """
        embedder = self._classifier.embedder
        stage = self._last_unchanged()
        if stage is None:
            return None, self._classifier
        trial = trial_images(self._data.preprocessing, 2).to(self._device)
        trial = trial.contiguous(memory_format=self._runtime.torch_format)
        try:
            trunk, tail = split_at(embedder, stage, trial)
        except UserError:
            return None, self._classifier
        with torch.no_grad():
            num_bytes = trunk.eval()(trial)[0].nbytes
        num_val = len(self._data.val) if self._data.val else 0
        if num_bytes * (num_val + len(self._measured)) > self._runtime.kept_bytes:
            return None, self._classifier
        return trunk, nn.Sequential(tail, self._classifier.head).eval()

    def _last_unchanged(self) -> str | None:
        """The last stage up to which nothing differs between the ends of the line."""
        prefix = "embedder.network."
        names = [name for name in self._changed if name.startswith(prefix)]
        if not names:
            return "all"
        stages = stage_names(self._classifier.embedder.network)
        beginnings = [f"{prefix}{stage}." for stage in stages]
        first = [
            next((at for at, begin in enumerate(beginnings) if name.startswith(begin)), 0)
            for name in names
        ]
        return stages[min(first) - 1] if min(first) else None

    def _batches(
        self, split: str, images: Images, positions: NDArray[np.int64]
    ) -> Iterator[tuple[Tensor, NDArray[np.bool_]]]:
        """The inputs of the tail, and which images of each batch are present."""
        if self._trunk is None:
            yield from self._read(images, positions)
            return
        if split not in self._kept:
            self._kept[split] = [
                (self._trunk(inputs) if len(inputs) else inputs, mask)
                for inputs, mask in self._read(images, positions)
            ]
        yield from self._kept[split]

    def _read(
        self, images: Images, positions: NDArray[np.int64]
    ) -> Iterator[tuple[Tensor, NDArray[np.bool_]]]:
        inputs = ImageInputs(
            images,
            self._data.preprocessing,
            AugmentationOptions(),
            self._device,
            self._runtime.torch_format,
        )
        groups = [
            Group(part) for part in np.split(positions, range(AT_ONCE, len(positions), AT_ONCE))
        ]
        for batch in inputs.batches(groups):
            yield batch.inputs, batch.present


def _some_positions(images: Images, seed: int) -> NDArray[np.int64]:
    """The train images to measure on, by the seed and their paths: whole batches where there are as
    many.
    """
    order = np.argsort(keyed_numbers(seed, "norms", images.paths), kind="stable")
    count = min(MEASURED_IMAGES, len(images))
    return order[: count - count % AT_ONCE if count > AT_ONCE else count]

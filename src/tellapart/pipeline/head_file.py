"""The head of a run as numbers in a file, so that nobody has to read it back out of a graph."""

from __future__ import annotations

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from tellapart.errors import Refused
from tellapart.modelfile.layers import Layers
from tellapart.runs.folder import RunFolder

HEAD = "head.safetensors"


def write_head(run: RunFolder, layers: Layers) -> None:
    """Write the calibrated head of the model file."""
    tensors = {"weight": layers.weight, "bias": layers.bias}
    for number, (weight, bias) in enumerate(layers.hidden):
        tensors |= {f"hidden.{number}.weight": weight, f"hidden.{number}.bias": bias}
    # safetensors writes the memory as it lies, and scikit-learn's coefficients lie column by column.
    run.write(HEAD, save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}))


def read_head(run: RunFolder) -> Layers:
    """The head that `write_head` wrote.

    Raises:
        Refused: the file is gone or damaged.
    """
    file = run.path / HEAD
    try:
        tensors = load(file.read_bytes())
        count = sum(name.startswith("hidden.") for name in tensors) // 2
        hidden = tuple(
            (tensors[f"hidden.{number}.weight"], tensors[f"hidden.{number}.bias"])
            for number in range(count)
        )
        return Layers(hidden, tensors["weight"], tensors["bias"])
    except (OSError, SafetensorError, KeyError):
        raise Refused(f"{file} is gone or damaged.", "Put a good copy there.") from None

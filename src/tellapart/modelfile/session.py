"""A loaded ONNX graph. Training, prediction and the gate all run their graphs through here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import UserError

# Read when onnxruntime is imported. Without it, onnxruntime 1.31 contacts its maker's server.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort

CPU = "CPUExecutionProvider"
_ENDING = "ExecutionProvider"


def providers() -> list[str]:
    """What onnxruntime can run graphs with here: the words that a session takes.

    >>> "cpu" in providers()
    True
    """
    return sorted(name.removesuffix(_ENDING).lower() for name in ort.get_available_providers())


def runtime_version() -> str:
    """The version of onnxruntime."""
    return str(ort.__version__)


def _provider(word: str) -> str:
    """onnxruntime's name of a provider.

    Raises:
        UserError: onnxruntime has no such one here.
    """
    for name in ort.get_available_providers():
        if name.removesuffix(_ENDING).lower() == word.lower():
            return str(name)
    raise UserError(
        f"onnxruntime has no provider {word!r} here. It has: {', '.join(providers())}.",
        "Take one of these, or install the build of onnxruntime that has it, as onnxruntime-gpu.",
    )


class Session:
    """A loaded graph that many threads may run at once.

    By default each run uses one core. On a CPU one image at a time on each core is as fast as a
    batch. Images of any size then need no padding.

    Args:
        model: a serialised, self-contained ONNX graph.
        threads: how many threads work on one run together.
        provider: what runs the graph: "cpu", or another that onnxruntime has here, as "cuda".
        spin: whether threads without work look for it all the time of a run, which takes a few
            percent less time, or wait, which leaves the cores to others.

    Raises:
        UserError: onnxruntime does not accept the graph, or has no such provider.
    """

    def __init__(
        self, model: bytes, threads: int = 1, *, provider: str = "cpu", spin: bool = True
    ) -> None:
        chosen = _provider(provider)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        if threads > 1:
            options.add_session_config_entry(
                "session.force_spinning_stop", "1"
            )  # what runs next is not slowed
        if not spin:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.inter_op_num_threads = 1
        # A model file is self-contained: whatever it names outside itself is looked for where
        # nothing can be.
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", os.devnull
        )
        options.log_severity_level = (
            4  # what goes wrong is raised; nothing of it belongs on the user's terminal
        )
        try:
            # What the provider has no kernel for runs on the CPU.
            order = list(dict.fromkeys([chosen, CPU]))
            self._session = ort.InferenceSession(model, options, providers=order)
        except (
            Exception
        ) as error:  # onnxruntime has an exception class a fault, without a common base
            raise UserError(
                "The model file is not a graph that onnxruntime can run.", "Export it anew."
            ) from error
        if chosen not in self._session.get_providers():  # onnxruntime goes on without it
            raise UserError(
                f"onnxruntime cannot start {provider} here.",
                "Install the driver and the libraries that it needs, or take --provider cpu.",
            )
        self._input = self._session.get_inputs()[0].name

    @property
    def metadata(self) -> dict[str, str]:
        """The graph's metadata: key → text."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def outputs(self) -> list[str]:
        """The names of the outputs."""
        return [output.name for output in self._session.get_outputs()]

    def width(self, output: str) -> int | str | None:
        """The last axis of an output, as the graph states it; None if there is no such output."""
        shapes = {value.name: value.shape for value in self._session.get_outputs()}
        return shapes[output][-1] if shapes.get(output) else None

    def run(
        self,
        batch: NDArray[np.generic],
        outputs: Sequence[str],
        constants: Mapping[str, NDArray[np.generic]] | None = None,
    ) -> list[NDArray[np.float32]]:
        """The chosen outputs for a batch.

        Args:
            batch: (N, H, W, 3) uint8, or what the graph's first input is.
            outputs: the names of the outputs wanted.
            constants: other values of constants that the graph names as inputs too.
        """
        return list(self._session.run(list(outputs), {self._input: batch, **(constants or {})}))

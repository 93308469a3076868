"""A torch network → an ONNX graph that takes its preprocessed input."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import onnx
import timm
import torch

from tellapart.errors import UserError
from tellapart.export.kept import ExportedNetwork
from tellapart.export.compose import EMBEDDING, FEATURES, INPUT
from tellapart.models.backbones import Backbone, Embedder

OPSET = 18  # the first whose Resize knows antialiasing

def export_backbone(backbone: Backbone, module: Embedder) -> ExportedNetwork:
    """The backbone as a graph, with what must be said of its weights.

    Raises:
        UserError: it cannot be written as ONNX.
    """
    return ExportedNetwork(
        graph=export_network(module, backbone.preprocessing.size_px),
        preprocessing=backbone.preprocessing,
        source=backbone.weights.source,
        licence=backbone.weights.licence,
        digest=backbone.weights.digest,
        versions={"torch": torch.__version__, "timm": timm.__version__, "onnx": onnx.__version__},
    )


def export_network(module: Embedder, size_px: int) -> bytes:
    """The network as a self-contained ONNX graph: input (N, 3, S, S) float32 → embedding (N, D), features (N, D, h, w).

    The TorchScript exporter is tried first: it takes a second where the newer one takes ten, and what either writes is
    held against torch by the gate. PyTorch calls it deprecated; where it is gone or fails, the newer one is used.

    Raises:
        UserError: neither exporter can write this network.
    """
    trial = torch.zeros(1, 3, size_px, size_px)
    outputs = [EMBEDDING, FEATURES] if module.has_map else [EMBEDDING]
    reasons = []
    for exporter in (_export_by_trace, _export_by_dynamo):
        try:
            return _checked(exporter, module, trial, outputs)
        except Exception as error:  # the exporters raise whatever their inside raises
            reasons.append(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    raise UserError(f"This network cannot be written as ONNX ({'; '.join(reasons)}).", "Choose another backbone.")


Exporter = Callable[[Embedder, torch.Tensor, list[str]], onnx.ModelProto]


def _checked(exporter: Exporter, module: Embedder, trial: torch.Tensor, outputs: list[str]) -> bytes:
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of tracing and deprecation, about what the gate measures
        model = exporter(module, trial, outputs)
    onnx.checker.check_model(model)
    version = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if version < OPSET:
        raise ValueError(f"opset {version} is older than {OPSET}")
    model.doc_string = ""
    return bytes(model.SerializeToString(deterministic=True))


def _export_by_trace(module: Embedder, trial: torch.Tensor, outputs: list[str]) -> onnx.ModelProto:
    file = io.BytesIO()
    torch.onnx.export(
        module,
        (trial,),
        file,
        dynamo=False,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=outputs,
        dynamic_axes={name: {0: "N"} for name in [INPUT, *outputs]},
    )
    return onnx.load_from_string(file.getvalue())


def _export_by_dynamo(module: Embedder, trial: torch.Tensor, outputs: list[str]) -> onnx.ModelProto:
    program = torch.onnx.export(
        module,
        (trial.repeat(2, 1, 1, 1),),  # a batch of 1 would be taken for a constant
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=[INPUT],
        output_names=outputs,
        dynamic_shapes=({0: torch.export.Dim("N")},),
    )
    assert program is not None
    return program.model_proto

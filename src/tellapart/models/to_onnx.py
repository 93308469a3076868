"""A torch network → an ONNX graph that takes its preprocessed input."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import onnx
import timm
import torch
from timm.layers import Conv2dSame, get_same_padding
from torch import nn

from tellapart.errors import UserError
from tellapart.export.compose import EMBEDDING, FEATURES, INPUT, OPSET
from tellapart.export.graph_cache import ExportedNetwork
from tellapart.modelfile.preprocessing import Preprocessing
from tellapart.modelfile.session import Session
from tellapart.models.backbones import Backbone, Embedder, one_thread
from tellapart.models.trial import trial_tensor
from tellapart.models.weights import Weights, tensors_digest

CLOSE = 1e-3  # the largest difference from torch, as a share of the largest value

# A network, and a trial batch of two images → its graph.
Exporter = Callable[[Embedder, torch.Tensor], onnx.ModelProto]


def export_backbone(backbone: Backbone, module: Embedder) -> ExportedNetwork:
    """Export the backbone as a graph, with the source and licence of its weights.

    Raises:
        UserError: it cannot be written as ONNX.
    """
    weights = backbone.weights
    exported = _exported(
        module, backbone.preprocessing, weights.source, weights.licence, weights.digest
    )
    if not weights.of_user:
        return exported
    # The user's code is not known by a name: the same tensors may be used by other layers.
    digest = hashlib.sha256(weights.digest.encode() + exported.graph).hexdigest()
    return replace(exported, digest=digest)


def export_trained(
    module: Embedder, preprocessing: Preprocessing, began: Weights
) -> ExportedNetwork:
    """Export a trained network as a graph. The network itself stays as it is, and in its mode.

    Args:
        module: the network.
        preprocessing: of its images.
        began: the weights that the training began from. Their licence holds for the result too.
            Weights without tensors mean that it began at random numbers.

    Raises:
        UserError: it cannot be written as ONNX.
    """
    still = at_rest(module)
    source = began.source if began.tensors else "random numbers"
    licence = began.licence if began.tensors else "none needed"
    return _exported(
        still, preprocessing, f"trained here from {source}", licence, tensors_digest(still)
    )


def at_rest(module: Embedder) -> Embedder:
    """A copy for evaluation: on the CPU, float32, its tensors in the ordinary memory layout."""
    still = deepcopy(module).requires_grad_(False).eval()
    return still.to("cpu", torch.float32).to(memory_format=torch.contiguous_format)


def _exported(
    module: Embedder, preprocessing: Preprocessing, source: str, licence: str, digest: str
) -> ExportedNetwork:
    return ExportedNetwork(
        graph=export_network(module, preprocessing.size_px, preprocessing.channels),
        preprocessing=preprocessing,
        source=source,
        licence=licence,
        digest=digest,
        versions={"torch": torch.__version__, "timm": timm.__version__, "onnx": onnx.__version__},
    )


def export_network(
    module: Embedder,
    size_px: int,
    channels: int = 3,
    exporters: Sequence[Exporter] | None = None,
) -> bytes:
    """The network as a self-contained ONNX graph: input (N, C, S, S) float32 → embedding (N, D),
    features (N, D, h, w).

    Two exporters are tried, and the first whose graph agrees with torch at batch 1 and 2 is taken.
    Tracing takes a second where the newer exporter takes ten. PyTorch calls tracing deprecated, so
    the newer one is there for when tracing is gone or fails.

    Args:
        module: the network.
        size_px: the side of its input.
        channels: of its input.
        exporters: the ways to try, in order. None means tracing, then the newer exporter.

    Raises:
        UserError: no way writes this network rightly.
    """
    trial = trial_tensor(2, channels, size_px, size_px)
    reasons = []
    for export in exporters or (export_by_tracing, export_by_dynamo):
        try:
            with warnings.catch_warnings(), torch.inference_mode(), one_thread():
                # They are about tracing and deprecation, and the graph is checked below.
                warnings.simplefilter("ignore")
                graph = _serialised(
                    export(module, trial), [tuple(output.shape) for output in module(trial)]
                )
                _check_against(module, graph, trial)
            return graph
        except Exception as error:  # the exporters raise whatever their inside raises
            lines = str(error).splitlines() or [""]
            reasons.append(f"{type(error).__name__}: {lines[0]}")
    raise UserError(
        f"This network cannot be written as ONNX ({'; '.join(reasons)}).",
        "Choose another backbone.",
    )


def _outputs(module: Embedder) -> list[str]:
    return [EMBEDDING, FEATURES] if module.has_map else [EMBEDDING]


def _serialised(model: onnx.ModelProto, shapes: Sequence[tuple[int, ...]]) -> bytes:
    for value, shape in zip(
        model.graph.output, shapes, strict=True
    ):  # the exporters leave fixed sizes unknown
        for axis, size in zip(value.type.tensor_type.shape.dim[1:], shape[1:], strict=True):
            axis.dim_value = size
    onnx.checker.check_model(model)
    version = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if version < OPSET:
        raise ValueError(f"opset {version} is older than {OPSET}")
    model.doc_string = ""
    return bytes(model.SerializeToString(deterministic=True))


def _check_against(module: Embedder, graph: bytes, trial: torch.Tensor) -> None:
    session = Session(graph)
    expected = module(trial)[0].numpy()
    for batch in (trial, trial[:1]):
        (got,) = session.run(batch.numpy(), [EMBEDDING])
        difference = abs(got - expected[: len(batch)]).max() / max(abs(expected).max(), 1e-6)
        if not difference <= CLOSE:
            raise ValueError(f"differs from torch by {difference:.2g} at batch {len(batch)}")


def export_by_tracing(module: Embedder, trial: torch.Tensor) -> onnx.ModelProto:
    """By the older exporter, which follows one batch through the network."""
    file = io.BytesIO()
    torch.onnx.export(
        _with_fixed_padding(module, trial),
        (trial,),
        file,  # type: ignore[arg-type]  # a buffer will do, whatever the signature says
        dynamo=False,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=_outputs(module),
        dynamic_axes={name: {0: "N"} for name in [INPUT, *_outputs(module)]},
    )
    return onnx.load_from_string(file.getvalue())


def _with_fixed_padding(module: Embedder, trial: torch.Tensor) -> Embedder:
    """A copy whose "same" paddings are constants, as the size of the input is fixed here.

    onnxruntime folds constant paddings into the convolutions, which are a third faster then.
    """
    copy = deepcopy(module)
    convolutions = [
        (name, child) for name, child in copy.named_modules() if isinstance(child, Conv2dSame)
    ]
    sizes: dict[nn.Module, list[int]] = {}
    hooks = [
        child.register_forward_pre_hook(
            lambda layer, inputs: sizes.__setitem__(layer, list(inputs[0].shape[2:]))
        )
        for _, child in convolutions
    ]
    copy(trial)
    for hook in hooks:
        hook.remove()
    for name, child in convolutions:
        plain = nn.Conv2d(
            child.in_channels,
            child.out_channels,
            child.kernel_size,
            child.stride,
            dilation=child.dilation,
            groups=child.groups,
            bias=child.bias is not None,
        )
        plain.load_state_dict(child.state_dict())
        spread = zip(sizes[child], child.kernel_size, child.stride, child.dilation, strict=True)
        high, wide = (get_same_padding(*axis) for axis in spread)
        padding = nn.ZeroPad2d((wide // 2, wide - wide // 2, high // 2, high - high // 2))
        parent, _, last = name.rpartition(".")
        setattr(copy.get_submodule(parent), last, nn.Sequential(padding, plain))
    return copy.eval()


def export_by_dynamo(module: Embedder, trial: torch.Tensor) -> onnx.ModelProto:
    """By the newer exporter, which reads the network's code."""
    program = torch.onnx.export(
        module,
        (trial,),  # a batch of two: the exporter would take a batch of 1 for a constant
        dynamo=True,
        external_data=False,
        verbose=False,
        input_names=[INPUT],
        output_names=_outputs(module),
        dynamic_shapes=({0: torch.export.Dim("N")},),
    )
    assert program is not None
    return program.model_proto

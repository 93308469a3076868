"""Other forms of a model file: its weights in half precision, or its network in int8.

Only the numbers change form. Input, outputs, preprocessing and metadata stay, so whoever uses the
file sees no difference but its size and speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tellapart.errors import UserError
from tellapart.export.compose import EMBEDDING, INPUT, PIXELS, PREPROCESSED, cut_at
from tellapart.export.quantize import quantize
from tellapart.modelfile.card import ModelCard, seal
from tellapart.modelfile.session import Session

# Smaller constants are limits, means and sizes: their digits matter, and their bytes do not.
LEAST_NUMBERS = 256


def with_card(model: bytes, card: ModelCard) -> bytes:
    """A model file with another card, sealed anew.

    >>> file = run.model.read_bytes()
    >>> with_card(file, predictor.card) == file
    True
    """
    proto = onnx.load_from_string(model)
    return _sealed(proto, card)


def in_fp16(model: bytes, card: ModelCard) -> bytes:
    """The model file with its weights stored in half precision, which halves it.

    A runtime turns them back to fp32 once, when it loads the file. So every runtime can run it, as
    fast as before and with the same rounding of all sums.

    Args:
        model: the bytes of a model file in fp32.
        card: its card.
    """
    proto = onnx.load_from_string(model)
    kept, casts = [], []
    for constant in proto.graph.initializer:
        numbers = numpy_helper.to_array(constant)
        if numbers.dtype != np.float32 or numbers.size < LEAST_NUMBERS:
            kept.append(constant)
            continue
        with np.errstate(over="ignore"):
            halves = numbers.astype(np.float16)
        if not np.isfinite(halves).all():  # a weight above 65,504 has no half-precision number
            kept.append(constant)
            continue
        stored = f"{constant.name}/fp16"
        kept.append(numpy_helper.from_array(halves, stored))
        casts.append(
            helper.make_node("Cast", [stored], [constant.name], name=stored, to=TensorProto.FLOAT)
        )
    nodes = [*casts, *proto.graph.node]
    _replace(proto, nodes, kept)
    return _sealed(proto, replace(card, precision="fp16"))


def in_int8(model: bytes, card: ModelCard, images: Sequence[NDArray[np.uint8]]) -> bytes:
    """The model file with its network in int8. Preprocessing and head stay as they are.

    Args:
        model: the bytes of a model file in fp32.
        card: its card.
        images: each (H, W, 3) uint8; they show the ranges of the activations.

    Raises:
        UserError: the file has no place at which its network could be taken out.
    """
    proto = onnx.load_from_string(model)
    network = _network_of(proto)
    before = Session(cut_at(model, PIXELS, [PREPROCESSED]))
    shown = [before.run(pixels[None], [PREPROCESSED])[0][0] for pixels in images]
    quantized = onnx.load_from_string(quantize(network.graph, shown))
    for node in quantized.graph.node:
        node.input[:] = [PREPROCESSED if name == INPUT else name for name in node.input]
    nodes = [*network.before, *quantized.graph.node, *network.behind]
    used = {name for node in (*network.before, *network.behind) for name in node.input}
    theirs = {constant.name for constant in quantized.graph.initializer}
    constants = [
        constant
        for constant in proto.graph.initializer
        if constant.name in used and constant.name not in theirs
    ]
    _replace(proto, nodes, [*constants, *quantized.graph.initializer])
    return _sealed(proto, replace(card, precision="int8"))


@dataclass(frozen=True)
class _Network:
    """The network of a model file, taken out.

    Args:
        graph: input (N, C, S, S) float32 → embedding, and what else of it is used.
        before: the nodes of the file that do not depend on it, in their order.
        behind: the nodes that use what it gives.
    """

    graph: bytes
    before: Sequence[onnx.NodeProto]
    behind: Sequence[onnx.NodeProto]


def _network_of(proto: onnx.ModelProto) -> _Network:
    nodes = list(proto.graph.node)
    needed = _needed_for(nodes, EMBEDDING)
    reached = {PREPROCESSED}
    inside: list[onnx.NodeProto] = []
    behind: list[onnx.NodeProto] = []
    before: list[onnx.NodeProto] = []
    for node in nodes:  # in topological order, as ONNX demands
        depends = any(name in reached for name in node.input)
        if depends:
            reached |= set(node.output)
        is_network = depends and needed.issuperset(node.output)
        (inside if is_network else behind if depends else before).append(node)
    if not inside:
        raise UserError(
            "The network in this model file cannot be taken out.", "Export it as fp16 instead."
        )
    made = {name for node in inside for name in node.output}
    used = {name for node in behind for name in node.input}
    used |= {output.name for output in proto.graph.output}
    graph = _taken_out(proto, inside, [name for name in sorted(made) if name in used])
    return _Network(graph, before, behind)


def _needed_for(nodes: Sequence[onnx.NodeProto], output: str) -> set[str]:
    """All values that an output is computed from, and itself."""
    needed = {output}
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
    return needed


def _taken_out(
    proto: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], outputs: Sequence[str]
) -> bytes:
    """Some nodes as a graph of their own, whose input is called as `quantize` calls it."""
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    values = {value.name: value for value in (*inferred.value_info, *inferred.output)}
    first = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, _dims(values[PREPROCESSED]))
    used = {name for node in nodes for name in node.input}
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [INPUT if name == PREPROCESSED else name for name in node.input]
        copies.append(copy)
    graph = helper.make_graph(
        copies,
        "network",
        [first],
        [values[name] for name in outputs],
        [constant for constant in proto.graph.initializer if constant.name in used],
    )
    model = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=proto.ir_version)
    return bytes(model.SerializeToString(deterministic=True))


def _dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _replace(
    proto: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto],
) -> None:
    """Put other nodes and constants into a graph."""
    # Copies first: the messages that are put back are those that are deleted.
    nodes, constants = [_copy(node) for node in nodes], [_copy(tensor) for tensor in constants]
    del proto.graph.node[:]
    del proto.graph.initializer[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(constants)


def _copy(message: onnx.NodeProto | onnx.TensorProto) -> Any:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def _sealed(proto: onnx.ModelProto, card: ModelCard) -> bytes:
    helper.set_model_props(proto, card.as_metadata())
    onnx.checker.check_model(proto)
    return seal(bytes(proto.SerializeToString(deterministic=True)))

"""A graph of convolutions for another input: the same weights, other sizes."""

from __future__ import annotations

import onnx
from onnx import helper

from tellapart.export.compose import FEATURES, INPUT


def padding(side: int, kernel: int, stride: int) -> tuple[int, int, int]:
    """What TensorFlow's "same" padding adds before and after, and the side behind it.

    >>> padding(224, 3, 2), padding(225, 3, 2)
    ((0, 1, 112), (1, 1, 113))
    """
    after = -(-side // stride)
    whole = max((after - 1) * stride + kernel - side, 0)
    return whole // 2, whole - whole // 2, after


def with_input(graph: bytes, size_px: int, channels: int) -> bytes:
    """The graph of a network for 3 channels, for images of this side.

    Args:
        graph: a chain of convolutions with "same" padding, input (N, 3, S, S) float32.
        size_px: the side of the input that is wanted.
        channels: with 1, the network sees the luminance three times.
    """
    model = onnx.load_from_string(graph)
    shape = model.graph.input[0].type.tensor_type.shape.dim
    if [shape[1].dim_value, shape[2].dim_value] == [channels, size_px]:
        return graph
    side = size_px
    for node in model.graph.node:
        if node.op_type == "Conv":
            attributes = {entry.name: entry for entry in node.attribute}
            kernel, stride = attributes["kernel_shape"].ints[0], attributes["strides"].ints[0]
            before, after, side = padding(side, kernel, stride)
            attributes["pads"].ints[:] = [before, before, after, after]
    _resize(shape, size_px)
    for output in model.graph.output:
        if output.name == FEATURES:
            _resize(output.type.tensor_type.shape.dim, side)
    del model.graph.value_info[:]
    if channels == 1:
        _repeat_channel(model)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _resize(shape: list[onnx.TensorShapeProto.Dimension], side: int) -> None:
    shape[2].dim_value = shape[3].dim_value = side


def _repeat_channel(model: onnx.ModelProto) -> None:
    colour = f"{INPUT}/colour"
    for node in model.graph.node:
        node.input[:] = [colour if name == INPUT else name for name in node.input]
    concat = helper.make_node("Concat", [INPUT] * 3, [colour], name=colour, axis=1)
    model.graph.node.insert(0, concat)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1

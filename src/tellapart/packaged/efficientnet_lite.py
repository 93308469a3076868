"""EfficientNet-Lite as an ONNX graph, built from its published tensors.

Source: Tan and Le 2019, https://arxiv.org/abs/1905.11946; the Lite variants have neither squeeze and
excitation nor swish, https://blog.tensorflow.org/2020/03/higher-accuracy-on-vision-models-with-efficientnet-lite.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tellapart.export.compose import EMBEDDING, FEATURES, INPUT, IR_VERSION, OPSET
from tellapart.packaged.fixed_size import padding

Tensors = Mapping[str, NDArray[Any]]

STAGE_STRIDES = (1, 2, 2, 2, 1, 2, 1)
EPSILON = 1e-3  # of TensorFlow's batch normalisation


def lite_graph(tensors: Tensors, size_px: int, channels: int = 3) -> bytes:
    """The network without its classifier: input (N, C, S, S) float32 → embedding (N, 1280),
    features (N, 1280, h, w).

    Batch normalisation is folded into the convolutions.

    Args:
        tensors: the published weights of any of the Lite variants. Their shapes tell how deep and
            wide it is.
        size_px: the side of its input.
        channels: of its input. With one, the first layer takes the luminance three times.
    """
    graph = _Graph(tensors, size_px)
    value = graph.convolution(INPUT, "_conv_stem", "_bn0", stride=2, channels=channels)
    number, stage, width = 0, -1, _shape(tensors, "_conv_stem")[0]
    while f"_blocks.{number}._project_conv.weight" in tensors:
        block_width = _shape(tensors, f"_blocks.{number}._project_conv")[0]
        first = block_width != width
        stage, width = stage + first, block_width
        value = graph.block(value, f"_blocks.{number}", STAGE_STRIDES[stage] if first else 1, first)
        number += 1
    graph.convolution(value, "_conv_head", "_bn1", output=FEATURES)
    return graph.serialised(channels)


class _Graph:
    """Nodes and constants of a graph that grows layer by layer."""

    def __init__(self, tensors: Tensors, size_px: int) -> None:
        self._tensors, self._size_px, self._side = tensors, size_px, size_px
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._lowest, self._highest = self._constant("0", 0.0), self._constant("6", 6.0)

    def _constant(self, name: str, values: object) -> str:
        array = np.ascontiguousarray(values, np.float32)
        self._constants.append(numpy_helper.from_array(array, name))
        return name

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def block(self, value: str, name: str, stride: int, first: bool) -> str:
        """An inverted residual: expand, filter each channel by itself, project."""
        inside = value
        if f"{name}._expand_conv.weight" in self._tensors:
            inside = self.convolution(inside, f"{name}._expand_conv", f"{name}._bn0")
        filters = f"{name}._depthwise_conv"
        groups = _shape(self._tensors, filters)[0]
        inside = self.convolution(inside, filters, f"{name}._bn1", stride=stride, groups=groups)
        inside = self.convolution(inside, f"{name}._project_conv", f"{name}._bn2", activated=False)
        return inside if first else self._add("Add", [value, inside], f"{name}.sum")

    def convolution(
        self,
        value: str,
        name: str,
        norm: str,
        *,
        stride: int = 1,
        groups: int = 1,
        channels: int | None = None,
        activated: bool = True,
        output: str | None = None,
    ) -> str:
        """A convolution with its normalisation folded in, and ReLU6 unless it is a projection."""
        scale, shift, mean, variance = (
            self._tensors[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = scale / np.sqrt(variance + EPSILON)
        weight = self._tensors[f"{name}.weight"] * scale[:, None, None, None]
        if channels == 1:
            weight = weight.sum(axis=1, keepdims=True)
        kernel = weight.shape[2]
        before, after, self._side = padding(self._side, kernel, stride)
        constants = [
            self._constant(f"{name}.weight", weight),
            self._constant(f"{name}.bias", shift - mean * scale),
        ]
        sums = self._add(
            "Conv",
            [value, *constants],
            name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=groups,
        )
        if not activated:
            return sums
        limits = [self._lowest, self._highest]
        return self._add("Clip", [sums, *limits], output or f"{name}.relu6")

    def serialised(self, channels: int) -> bytes:
        """The checked graph, by a deterministic writer."""
        pooled = self._add("GlobalAveragePool", [FEATURES], "pooled")
        self._add("Flatten", [pooled], EMBEDDING)
        width = _shape(self._tensors, "_conv_head")[0]
        graph = helper.make_graph(
            self._nodes,
            "efficientnet_lite",
            [_value(INPUT, [channels, self._size_px, self._size_px])],
            [_value(EMBEDDING, [width]), _value(FEATURES, [width, self._side, self._side])],
            self._constants,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="tellapart",
        )
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))


def _shape(tensors: Tensors, name: str) -> tuple[int, ...]:
    return tuple(tensors[f"{name}.weight"].shape)


def _value(name: str, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])

"""Graphs put together: preprocessing before the network, the head behind it.

pixels ─▶ crop, resize, normalise ─▶ network ─▶ embedding ─▶ head ─▶ probabilities
uint8 (N, H, W, 3)                      │  └────────┴─▶ residual, evenness ─▶ unfamiliarity
                                        └─ features ─▶ activation_map
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tellapart.evaluation.standards import Standard
from tellapart.modelfile.card import ModelCard, seal
from tellapart.modelfile.familiarity import LEAST_LENGTH, Familiarity
from tellapart.modelfile.layers import Layers
from tellapart.modelfile.preprocessing import LUMINANCE, Preprocessing

INPUT, EMBEDDING, FEATURES = "input", "embedding", "features"  # of the network
PIXELS, PREPROCESSED = "pixels", "preprocessed"
IR_VERSION = 9  # readable by onnxruntime from 1.17 on
OPSET = 18  # the first whose Resize knows antialiasing


@dataclass(frozen=True)
class Head:
    """The layers on the embedding, and what unfamiliarity is measured by.

    Args:
        layers: D → C, with standardisation and temperature folded in; the softmax of their logits
            is the answer.
        familiarity: the subspace of the training images, and what is usual for images like them.
        answer_weights: (C,) the answer has the highest probability times weight. Empty means that
            the most probable class is the answer.
    """

    layers: Layers
    familiarity: Familiarity
    answer_weights: tuple[float, ...] = ()


def compose_features(network: bytes, preprocessing: Preprocessing) -> bytes:
    """The first half of a model file: pixels (N, H, W, 3) uint8 → embedding (N, D).

    It gives the feature map too, if the network has one.
    """
    graph = _Graph(onnx.load_from_string(network))
    graph.preprocess(preprocessing)
    return graph.serialised(graph.network_outputs)


def compose_model(
    network: bytes, preprocessing: Preprocessing, head: Head, card: ModelCard
) -> bytes:
    """The model file: preprocessing, network, head and card in one sealed graph.

    The same inputs give the same bytes.
    """
    graph = _Graph(onnx.load_from_string(network))
    graph.preprocess(preprocessing)
    outputs = graph.answer(head)
    return seal(graph.serialised(outputs, card.as_metadata()))


def cut_at(model: bytes, name: str, outputs: Sequence[str]) -> bytes:
    """The part of a model file that computes `outputs` from one of its values, `name`.

    The nodes are the file's own, so the gate checks what is shipped.
    """
    whole = onnx.load_from_string(model)
    return bytes(
        onnx.utils.Extractor(whole).extract_model([name], list(outputs)).SerializeToString()
    )


class _Graph:
    """A network's graph that grows at both ends."""

    def __init__(self, network: onnx.ModelProto) -> None:
        self._network = onnx.compose.add_prefix(network, "network/", inplace=True)
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        shapes = {
            value.name.removeprefix("network/"): value for value in self._network.graph.output
        }
        self.network_outputs = [
            _output(name, _shape(shapes[name])) for name in (EMBEDDING, FEATURES) if name in shapes
        ]

    def _add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self._nodes.append(
            helper.make_node(operator, list(inputs), [output], name=output, **attributes)
        )
        return output

    def _constant(self, name: str, values: object, kind: type[np.generic] = np.int64) -> str:
        if name not in {constant.name for constant in self._constants}:
            self._constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def preprocess(self, preprocessing: Preprocessing) -> None:
        """Square, resize and normalise the pixels, and feed them to the network."""
        square = (
            PIXELS
            if preprocessing.mode == "squash"
            else _SQUARES[preprocessing.mode](self, preprocessing)
        )
        channels_first = self._add("Transpose", [square], "channels_first", perm=[0, 3, 1, 2])
        # All four sizes, and no `axes`: with them onnxruntime 1.31 cannot load a linear Resize of
        # uint8.
        batch = self._add("Shape", [PIXELS], "batch", start=0, end=1)
        size = self._constant("size", [3, preprocessing.size_px, preprocessing.size_px])
        sizes = self._add("Concat", [batch, size], "sizes", axis=0)
        cubic: dict[str, Any] = {"cubic_coeff_a": -0.5} if preprocessing.filter == "bicubic" else {}
        resized = self._add(
            "Resize",
            [channels_first, "", "", sizes],
            "resized",
            mode="cubic" if cubic else "linear",
            antialias=1,
            exclude_outside=1,
            coordinate_transformation_mode="half_pixel",
            **cubic,
        )
        # Cast after the resize: bicubic on floats would overshoot to −34…289, where uint8 saturates
        # as Pillow does.
        as_float = self._add("Cast", [resized], "resized_float", to=TensorProto.FLOAT)
        levels = self._luminance(as_float) if preprocessing.grey else as_float
        mean, std = (
            _by_channel(values)
            for values in (preprocessing.channel_mean, preprocessing.channel_std)
        )
        scaled = self._add(
            "Mul", [levels, self._constant("scale", 1 / (255 * std), np.float32)], "scaled"
        )
        self._add("Sub", [scaled, self._constant("shift", mean / std, np.float32)], PREPROCESSED)
        for node in self._network.graph.node:
            node.input[:] = [
                PREPROCESSED if name == f"network/{INPUT}" else name for name in node.input
            ]
            node.output[:] = [
                name.removeprefix("network/") if name in _RESULTS else name for name in node.output
            ]
            node.input[:] = [
                name.removeprefix("network/") if name in _RESULTS else name for name in node.input
            ]
        self._nodes += self._network.graph.node

    def _cropped(self, preprocessing: Preprocessing) -> str:
        """The integer arithmetic of `Preprocessing.resized`, in the graph."""
        shape = self._add("Shape", [PIXELS], "shape", start=1, end=3)
        short = self._add("ReduceMin", [shape], "short", keepdims=1)
        share = self._constant("share_permille", [preprocessing.share_permille])
        thousandths = self._add("Mul", [short, share], "side_thousandths")
        raised = self._add("Add", [thousandths, self._constant("half", [500])], "side_raised")
        rounded = self._add("Div", [raised, self._constant("thousand", [1000])], "side_rounded")
        least = [self._constant("one", [1])]
        if preprocessing.spare_small:
            wanted = self._constant("least_side", [preprocessing.size_px])
            least.append(self._add("Min", [short, wanted], "spared"))
        side = self._add("Max", [rounded, *least], "side")
        gap = self._add("Sub", [shape, side], "gap")
        start = self._add("Div", [gap, self._constant("two", [2])], "start")
        end = self._add("Add", [start, side], "end")
        return self._add(
            "Slice", [PIXELS, start, end, self._constant("height_width", [1, 2])], "square"
        )

    def _padded(self, preprocessing: Preprocessing) -> str:
        shape = self._add("Shape", [PIXELS], "shape", start=1, end=3)
        side = self._add("ReduceMax", [shape], "side", keepdims=1)
        gap = self._add("Sub", [side, shape], "gap")
        before = self._add("Div", [gap, self._constant("two", [2])], "before")
        after = self._add("Sub", [gap, before], "after")
        pads = self._add("Concat", [before, after], "pads", axis=0)
        grey = self._constant("grey", preprocessing.bar_level, np.uint8)
        return self._add(
            "Pad", [PIXELS, pads, grey, self._constant("height_width", [1, 2])], "square"
        )

    def _luminance(self, channels: str) -> str:
        """(N, 3, S, S) → (N, 1, S, S)."""
        shares = self._constant("luminance_shares", np.reshape(LUMINANCE, (1, 3, 1, 1)), np.float32)
        weighted = self._add("Mul", [channels, shares], "weighted_channels")
        return self._add(
            "ReduceSum", [weighted, self._constant("axis_1", [1])], "luminance", keepdims=1
        )

    def answer(self, head: Head) -> list[onnx.ValueInfoProto]:
        """Add the head; returns the outputs of the model file."""
        self._add("Softmax", [self._logits(head.layers)], "probabilities", axis=1)
        self._unfamiliarity(head.familiarity)
        embedding, *features = self.network_outputs
        outputs = [
            _output("probabilities", ["N", len(head.layers.bias)]),
            embedding,
            _output("unfamiliarity", ["N"]),
        ]
        if features and not head.layers.hidden:
            outputs.append(self._activation_map(head.answer_weights))
        return outputs

    def _logits(self, layers: Layers) -> str:
        """Add the layers of the head; returns the name of the logits."""
        value = EMBEDDING
        for number, (weight, bias) in enumerate(layers.hidden, 1):
            constants = [
                self._constant(f"hidden_{number}_weight", weight, np.float32),
                self._constant(f"hidden_{number}_bias", bias, np.float32),
            ]
            sums = self._add("Gemm", [value, *constants], f"hidden_{number}_sums", transB=1)
            value = self._add("Relu", [sums], f"hidden_{number}")
        constants = [
            self._constant("weight", layers.weight, np.float32),
            self._constant("bias", layers.bias, np.float32),
        ]
        return self._add("Gemm", [value, *constants], "logits", transB=1)

    def _unfamiliarity(self, familiarity: Familiarity) -> None:
        """The arithmetic of `Familiarity.unfamiliarity`, in the graph."""
        standards = familiarity.standards
        terms = [
            self._surprise("residual", self._residual(familiarity), standards.residual),
            self._surprise("evenness", self._evenness(), standards.evenness),
        ]
        score = self._add("Add", terms, "score")
        limit = self._constant("unfamiliar_limit", familiarity.limit, np.float32)
        self._add("Div", [score, limit], "unfamiliarity")

    def _residual(self, familiarity: Familiarity) -> str:
        """How far the direction of the embedding is from the subspace (N,)."""
        subspace, axis = familiarity.subspace, self._constant("axis_1", [1])
        length = self._add("ReduceL2", [EMBEDDING, axis], "length", keepdims=1)
        least = self._constant("least", LEAST_LENGTH, np.float32)
        length = self._add("Max", [length, least], "length_above_0")
        direction = self._add("Div", [EMBEDDING, length], "direction")
        mean = self._constant("familiar_mean", subspace.mean, np.float32)
        centred = self._add("Sub", [direction, mean], "centred")
        components = self._constant("familiar_components", subspace.components, np.float32)
        places = self._add("Gemm", [centred, components], "places", transB=1)
        inside = self._add("MatMul", [places, components], "inside")
        rest = self._add("Sub", [centred, inside], "rest")
        return self._add("ReduceL2", [rest, axis], "residual", keepdims=0)

    def _evenness(self) -> str:
        """The mean logarithm of the probabilities (N,). The softmax itself may round to 0."""
        logs = self._add("LogSoftmax", ["logits"], "log_probabilities", axis=1)
        axis = self._constant("axis_1", [1])
        return self._add("ReduceMean", [logs, axis], "evenness", keepdims=0)

    def _surprise(self, name: str, value: str, standard: Standard) -> str:
        """How far a measurement is above what is usual, in spreads, softly cut off at 0."""
        mean = self._constant(f"{name}_mean", standard.mean, np.float32)
        above = self._add("Sub", [value, mean], f"{name}_above")
        weight = self._constant(f"{name}_weight", standard.weight, np.float32)
        spreads = self._add("Mul", [above, weight], f"{name}_spreads")
        return self._add("Softplus", [spreads], f"{name}_surprise")

    def _activation_map(self, answer_weights: tuple[float, ...]) -> onnx.ValueInfoProto:
        """How much each place adds to the answer's logit.

        The mean over the map, plus the bias, is that logit.
        """
        height, width = (_shape(self.network_outputs[1])[axis] for axis in (2, 3))
        ranked = "probabilities"
        if answer_weights:
            weights = self._constant("answer_weights", answer_weights, np.float32)
            ranked = self._add("Mul", [ranked, weights], "ranked")
        best = self._add("ArgMax", [ranked], "best", axis=1, keepdims=0)
        rows = self._add("Gather", ["weight", best], "best_weight", axis=0)
        column = self._add(
            "Unsqueeze", [rows, self._constant("map_axes", [2, 3])], "best_weight_map"
        )
        weighted = self._add("Mul", [FEATURES, column], "weighted_features")
        self._add(
            "ReduceSum", [weighted, self._constant("axis_1", [1])], "activation_map", keepdims=0
        )
        return _output("activation_map", ["N", height, width])

    def serialised(
        self, outputs: Sequence[onnx.ValueInfoProto], metadata: dict[str, str] | None = None
    ) -> bytes:
        """The checked graph, by a deterministic writer."""
        pixels = helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["N", "H", "W", 3])
        constants = [*self._network.graph.initializer, *self._constants]
        # Named with its shape, so that the gate can cut the graph there.
        seam = helper.make_tensor_value_info(
            PREPROCESSED, TensorProto.FLOAT, _shape(self._network.graph.input[0])
        )
        graph = helper.make_graph(
            self._nodes, "tellapart", [pixels], list(outputs), constants, value_info=[seam]
        )
        model = helper.make_model(
            graph,
            opset_imports=self._network.opset_import,
            ir_version=IR_VERSION,
            producer_name="tellapart",
        )
        helper.set_model_props(model, metadata or {})
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))


def _by_channel(values: Sequence[float]) -> NDArray[np.float64]:
    """A number for each channel (1, C, 1, 1); a single one where they are equal.

    onnxruntime puts the channels of an int8 network last, where one number is 4 ms an image faster.
    """
    if len(set(values)) == 1:
        return np.array(values[0])
    return np.array(values, np.float64).reshape(1, -1, 1, 1)


_SQUARES: dict[str, Callable[[_Graph, Preprocessing], str]] = {
    "crop": _Graph._cropped,
    "pad": _Graph._padded,
}
_RESULTS = {f"network/{EMBEDDING}", f"network/{FEATURES}"}


def _output(name: str, shape: Sequence[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    _, *rest = value.type.tensor_type.shape.dim
    return ["N", *(axis.dim_value for axis in rest)]

"""Several model files → one that answers with the mean of their probabilities.

          ┌─▶ member 1 ─▶ probabilities ─┐
pixels ───┼─▶ member 2 ─▶ probabilities ─┼─▶ mean
          └─▶ …                          ┘

What the members have in common is stored once: constants of equal value, and nodes with the same
operator and inputs. So probes share their backbone, and networks their preprocessing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tellapart.errors import UserError
from tellapart.export.compose import EMBEDDING, IR_VERSION, PIXELS, PREPROCESSED
from tellapart.modelfile.card import ModelCard, seal

PROBABILITIES, UNFAMILIARITY, ACTIVATION_MAP = "probabilities", "unfamiliarity", "activation_map"
ANSWER_WEIGHTS, RANKED, BEST = "answer_weights", "ranked", "best"
MAX_BYTES = 2**31 - 1  # the most that a protobuf message, and so a model file, can hold


def compose_ensemble(members: Sequence[bytes], card: ModelCard) -> bytes:
    """Merge several model files into one. The same members give the same bytes.

    Its probabilities and its unfamiliarity are the means of the members'. Its embedding is theirs
    side by side, with an embedding that members share only once. If every member has an activation
    map, its map is the mean of theirs. It explains the answer that all give together.

    Args:
        members: model files with the same classes and preprocessing.
        card: the metadata of the merged file.

    Raises:
        UserError: the members are too large for one file, or their networks branch.
    """
    models = [onnx.load_from_string(member) for member in members]
    merged = _Merged()
    names = [merged.add(model.graph) for model in models]
    # Each member has one vote, also if two are alike. A distance or an embedding that members share
    # is one value, and counts once.
    merged.join("Mean", [values[PROBABILITIES] for values in names], PROBABILITIES)
    merged.join("Mean", dict.fromkeys(values[UNFAMILIARITY] for values in names), UNFAMILIARITY)
    merged.join("Concat", dict.fromkeys(values[EMBEDDING] for values in names), EMBEDDING, axis=1)
    outputs = [PROBABILITIES, EMBEDDING, UNFAMILIARITY]
    if all(ACTIVATION_MAP in {output.name for output in model.graph.output} for model in models):
        best = merged.add_best(card.rule.weights)
        maps = [
            merged.add_map(model.graph, {**values, BEST: best})
            for model, values in zip(models, names, strict=True)
        ]
        merged.join("Mean", maps, ACTIVATION_MAP)
        outputs.append(ACTIVATION_MAP)
    return seal(merged.serialised(models, outputs, card))


class _Merged:
    """A graph to which others are added, each node and each constant once."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        # What a constant is, or what a node does → the names of its values.
        self._values: dict[object, list[str]] = {}
        self._taken = {PIXELS, PROBABILITIES, UNFAMILIARITY, EMBEDDING, ACTIVATION_MAP}
        self._taken |= {ANSWER_WEIGHTS, RANKED, BEST}

    def add(self, graph: onnx.GraphProto) -> dict[str, str]:
        """Add a member without its map; returns its name of each value → the name here."""
        names = {PIXELS: PIXELS, "": ""}
        for constant in graph.initializer:
            names[constant.name] = self._constant(constant)
        only_map = _map_nodes(graph)
        self._add([node for node in graph.node if node.name not in only_map], names)
        return names

    def add_map(self, graph: onnx.GraphProto, names: dict[str, str]) -> str:
        """Add a member's map, for the answer of all members; returns the name of the map."""
        only_map = _map_nodes(graph) - {BEST}
        self._add([node for node in graph.node if node.name in only_map], names)
        return names[ACTIVATION_MAP]

    def join(self, operator: str, values: Iterable[str], output: str, **attributes: int) -> None:
        """Add a node that joins one value of each member. A single value is passed on as it is."""
        inputs = list(values)
        if len(inputs) == 1:
            self.append(helper.make_node("Identity", inputs, [output], name=output))
        else:
            self.append(helper.make_node(operator, inputs, [output], name=output, **attributes))  # type: ignore[arg-type]

    def add_best(self, answer_weights: tuple[float, ...]) -> str:
        """Add the answer of all members; returns its name."""
        ranked = PROBABILITIES
        if answer_weights:
            self._constants.append(
                numpy_helper.from_array(np.asarray(answer_weights, np.float32), ANSWER_WEIGHTS)
            )
            ranked = self.append(
                helper.make_node("Mul", [ranked, ANSWER_WEIGHTS], [RANKED], name=RANKED)
            )
        return self.append(
            helper.make_node("ArgMax", [ranked], [BEST], name=BEST, axis=1, keepdims=0)
        )

    def append(self, node: onnx.NodeProto) -> str:
        """Add a node under its own name; returns the name of its output."""
        self._nodes.append(node)
        return str(node.output[0])

    def _add(self, nodes: Iterable[onnx.NodeProto], names: dict[str, str]) -> None:
        for node in nodes:
            if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
                raise UserError(
                    f"This network branches ({node.op_type}), and cannot be merged with others.",
                    "Leave --ensemble out, and one model is trained on all images.",
                )
            inputs = [names[name] for name in node.input]
            key = (node.domain, node.op_type, tuple(inputs), len(node.output), _attributes(node))
            if key not in self._values:
                copy = onnx.NodeProto()
                copy.CopyFrom(node)
                copy.input[:] = inputs
                copy.output[:] = [self._free(name) for name in node.output]
                copy.name = copy.output[0]
                self._nodes.append(copy)
                self._values[key] = list(copy.output)
            names.update(zip(node.output, self._values[key], strict=True))

    def _constant(self, constant: onnx.TensorProto) -> str:
        content = hashlib.sha256(numpy_helper.to_array(constant).tobytes()).digest()
        key = (constant.data_type, tuple(constant.dims), content)
        if key not in self._values:
            copy = onnx.TensorProto()
            copy.CopyFrom(constant)
            copy.name = self._free(constant.name)
            self._constants.append(copy)
            self._values[key] = [copy.name]
        return self._values[key][0]

    def _free(self, name: str) -> str:
        """The name, with a number behind it if it is taken. An unused output has no name."""
        if not name:
            return name
        free, number = name, 1
        while free in self._taken:
            number += 1
            free = f"{name}/{number}"
        self._taken.add(free)
        return free

    def serialised(
        self, models: Sequence[onnx.ModelProto], outputs: Sequence[str], card: ModelCard
    ) -> bytes:
        """The checked graph, without nodes that no output needs."""
        nodes, constants = self._needed(outputs)
        if sum(len(constant.raw_data) for constant in constants) > MAX_BYTES:
            raise UserError("These models are too large for one file.", "Leave --ensemble out.")
        first = models[0].graph
        seams = [value for value in first.value_info if value.name == PREPROCESSED]
        graph = helper.make_graph(
            nodes,
            "tellapart",
            [first.input[0]],
            self._outputs(models, outputs),
            constants,
            value_info=seams,
        )
        model = helper.make_model(
            graph,
            opset_imports=models[0].opset_import,
            ir_version=IR_VERSION,
            producer_name="tellapart",
        )
        helper.set_model_props(model, card.as_metadata())
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))

    def _outputs(
        self, models: Sequence[onnx.ModelProto], outputs: Sequence[str]
    ) -> list[onnx.ValueInfoProto]:
        """The outputs as the members state them, with the width of the joined embeddings."""
        stated = {output.name: output for output in models[0].graph.output}
        (joined,) = [node for node in self._nodes if node.output[0] == EMBEDDING]
        width = stated[EMBEDDING].type.tensor_type.shape.dim[1].dim_value * len(joined.input)
        wide = helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["N", width])
        return [wide if name == EMBEDDING else stated[name] for name in outputs]

    def _needed(
        self, outputs: Sequence[str]
    ) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        wanted, nodes = set(outputs), []
        for node in reversed(self._nodes):
            if wanted.intersection(node.output):
                nodes.append(node)
                wanted.update(node.input)
        return nodes[::-1], [constant for constant in self._constants if constant.name in wanted]


def _map_nodes(graph: onnx.GraphProto) -> set[str]:
    """The nodes that only the map needs: the one that finds the best answer, and all behind it."""
    values, names = {BEST}, set[str]()
    for node in graph.node:
        if values.intersection(node.output) or values.intersection(node.input):
            values.update(node.output)
            names.add(node.name)
    return names


def _attributes(node: onnx.NodeProto) -> tuple[bytes, ...]:
    return tuple(
        sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
    )

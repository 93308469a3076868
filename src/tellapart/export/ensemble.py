"""Several model files → one that answers with the mean of their probabilities.

          ┌─▶ member 1 ─▶ probabilities ─┐
pixels ───┼─▶ member 2 ─▶ probabilities ─┼─▶ mean
          └─▶ …                          ┘

What the members have in common is there once: constants of equal value, and nodes that do the same
with the same. So probes share their backbone, and networks their preprocessing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import onnx
from onnx import TensorProto, helper, numpy_helper

from tellapart.errors import UserError
from tellapart.export.compose import EMBEDDING, IR_VERSION, PIXELS, PREPROCESSED
from tellapart.modelfile.card import ModelCard, seal

PROBABILITIES, UNFAMILIARITY, ACTIVATION_MAP, BEST = (
    "probabilities",
    "unfamiliarity",
    "activation_map",
    "best",
)
MOST_BYTES = 2**31 - 1  # that a protobuf message, and so a model file, can hold


def compose_ensemble(members: Sequence[bytes], card: ModelCard) -> bytes:
    """One model file of several. Same members, same bytes.

    Its outputs: the mean of the members' calibrated probabilities; the mean of their unfamiliarity;
    their embeddings side by side, one that they share once; and where each has a map, the mean of
    what each place adds, in each member, to the logit of the answer that all give together.

    Args:
        members: model files with the same classes and preprocessing.

    Raises:
        UserError: the members are too large for one file, or their networks branch.
    """
    models = [onnx.load_from_string(member) for member in members]
    merged = _Merged()
    names = [merged.add(model.graph) for model in models]
    merged.join("Mean", [one[PROBABILITIES] for one in names], PROBABILITIES)
    merged.join("Mean", dict.fromkeys(one[UNFAMILIARITY] for one in names), UNFAMILIARITY)
    merged.join("Concat", dict.fromkeys(one[EMBEDDING] for one in names), EMBEDDING, axis=1)
    outputs = [PROBABILITIES, EMBEDDING, UNFAMILIARITY]
    if all(ACTIVATION_MAP in {output.name for output in model.graph.output} for model in models):
        best = merged.append(
            helper.make_node("ArgMax", [PROBABILITIES], [BEST], name=BEST, axis=1, keepdims=0)
        )
        maps = [
            merged.add_map(model.graph, {**one, BEST: best})
            for model, one in zip(models, names, strict=True)
        ]
        merged.join("Mean", maps, ACTIVATION_MAP)
        outputs.append(ACTIVATION_MAP)
    return seal(merged.serialised(models, outputs, card))


class _Merged:
    """A graph that others are added to, each node and each constant once."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._known: dict[
            object, list[str]
        ] = {}  # what a constant is, or a node does → the names of its values
        self._taken = {PIXELS, PROBABILITIES, UNFAMILIARITY, EMBEDDING, ACTIVATION_MAP, BEST}

    def add(self, graph: onnx.GraphProto) -> dict[str, str]:
        """Add a member but for its map; returns what its values are called here."""
        names = {PIXELS: PIXELS, "": ""}
        for constant in graph.initializer:
            names[constant.name] = self._constant(constant)
        only_map = _map_nodes(graph)
        self._add([node for node in graph.node if node.name not in only_map], names)
        return names

    def add_map(self, graph: onnx.GraphProto, names: dict[str, str]) -> str:
        """Add the nodes of a member's map, for an answer that is not its own; returns the map's
        name.
        """
        only_map = _map_nodes(graph) - {BEST}
        self._add([node for node in graph.node if node.name in only_map], names)
        return names[ACTIVATION_MAP]

    def join(self, operator: str, values: Iterable[str], output: str, **attributes: int) -> None:
        """A node on one value of each member; on a single one nothing is to be done."""
        inputs = list(values)
        if len(inputs) == 1:
            self.append(helper.make_node("Identity", inputs, [output], name=output))
        else:
            self.append(helper.make_node(operator, inputs, [output], name=output, **attributes))  # type: ignore[arg-type]

    def append(self, node: onnx.NodeProto) -> str:
        """A node under its own name; returns that of its output."""
        self._nodes.append(node)
        return str(node.output[0])

    def _add(self, nodes: Iterable[onnx.NodeProto], names: dict[str, str]) -> None:
        for node in nodes:
            if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
                raise UserError(
                    f"This network branches ({node.op_type}), and cannot be merged with others.",
                    "Leave --ensemble out: then one model is trained on all.",
                )
            inputs = [names[name] for name in node.input]
            does = (node.domain, node.op_type, tuple(inputs), len(node.output), _attributes(node))
            if does not in self._known:
                copy = onnx.NodeProto()
                copy.CopyFrom(node)
                copy.input[:] = inputs
                copy.output[:] = [self._free(name) for name in node.output]
                copy.name = copy.output[0]
                self._nodes.append(copy)
                self._known[does] = list(copy.output)
            names.update(zip(node.output, self._known[does], strict=True))

    def _constant(self, constant: onnx.TensorProto) -> str:
        content = hashlib.sha256(numpy_helper.to_array(constant).tobytes()).digest()
        is_ = (constant.data_type, tuple(constant.dims), content)
        if is_ not in self._known:
            copy = onnx.TensorProto()
            copy.CopyFrom(constant)
            copy.name = self._free(constant.name)
            self._constants.append(copy)
            self._known[is_] = [copy.name]
        return self._known[is_][0]

    def _free(self, name: str) -> str:
        """The name, or with a number behind it where it is taken. An output that nobody asks for
        stays without one.
        """
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
        """The checked graph, without what none of its outputs needs."""
        nodes, constants = self._needed(outputs)
        if sum(len(constant.raw_data) for constant in constants) > MOST_BYTES:
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
        """As the members state them, but for the width of the embeddings side by side."""
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
    """The nodes that only the map needs: those behind the answer that is the best."""
    found, names = {BEST}, set[str]()
    for node in graph.node:
        if found.intersection(node.output) or found.intersection(node.input):
            found.update(node.output)
            names.add(node.name)
    return names


def _attributes(node: onnx.NodeProto) -> tuple[bytes, ...]:
    return tuple(
        sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
    )

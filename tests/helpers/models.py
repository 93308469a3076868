"""A model small enough to be written by hand: its network, its head and its card."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tellapart.decoders.rules import DecodeRules
from tellapart.evaluation.rule import AnswerRule
from tellapart.evaluation.standards import Standard, Standards
from tellapart.export.compose import Head
from tellapart.modelfile.card import ModelCard
from tellapart.modelfile.familiarity import Familiarity, Subspace
from tellapart.modelfile.layers import Layers
from tellapart.modelfile.preprocessing import Preprocessing

SIDE, WIDTH = 32, 8
PREPROCESSING = Preprocessing(size_px=SIDE)


def small_network(*, with_map: bool = True, channels: int = 3) -> bytes:
    """One convolution and mean pooling, by hand: input (N, 3, 32, 32) → embedding (N, 8), features
    (N, 8, 4, 4).
    """
    kernel = np.random.default_rng(0).normal(size=(WIDTH, channels, 8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["features"], strides=[8, 8]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", channels, SIDE, SIDE])
    embedding = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", WIDTH])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", WIDTH, 4, 4])
    outputs = [embedding, features] if with_map else [embedding]
    graph = helper.make_graph(
        nodes, "small", [image], outputs, [numpy_helper.from_array(kernel, "kernel")]
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    ).SerializeToString()


def small_head(*, classes: int = 3, components: int = 3, hidden: tuple[int, ...] = ()) -> Head:
    rng = np.random.default_rng(1)
    directions, _ = np.linalg.qr(rng.normal(size=(WIDTH, components)))
    layers = [
        (
            rng.normal(size=(wide, narrow)).astype(np.float32),
            rng.normal(size=wide).astype(np.float32),
        )
        for narrow, wide in pairwise((WIDTH, *hidden, classes))
    ]
    return Head(
        layers=Layers(tuple(layers[:-1]), *layers[-1]),
        familiarity=Familiarity(
            Subspace(np.full(WIDTH, 0.1, np.float32), directions.T.astype(np.float32)),
            Standards(Standard(0.5, 0.2), Standard(-2.0, 0.5)),
            limit=4.0,
        ),
    )


def small_card(classes: tuple[str, ...] = ("a", "b", "c")) -> ModelCard:
    return ModelCard(
        classes=classes,
        preprocessing=PREPROCESSING,
        temperature=1.0,
        calibration_count=0,
        rule=AnswerRule(),
        sets=None,
        detects_unfamiliar=True,
        train_counts=(4,) * len(classes),
        backbone="small",
        decoding=DecodeRules(max_pixels=10**6),
        digests={},
        licences={},
        versions={},
    )


def noise(height: int = 40, width: int = 50, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def constant(graph: ModelProto, name: str) -> np.ndarray:
    return next(numpy_helper.to_array(one) for one in graph.graph.initializer if one.name == name)

"""Values inside a model file that are none of its outputs, read by onnxruntime alone.

A serialised ONNX model is a protocol buffer. Of two that stand one behind the other, the second is
merged into the first: its nodes and outputs join the graph. So a few bytes behind the file give it
more outputs, and neither the package onnx nor another form of the file is needed. Source: "Last
One Wins" in https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Sequence

from tellapart.errors import UserError
from tellapart.modelfile.session import Session

# The numbers of the fields, from onnx.proto.
_GRAPH, _NODE, _OUTPUT = 7, 1, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATOR, _OUTPUT_NAME = 1, 2, 3, 4, 1
_COPY = "explain/"  # begins the names of copies of constants


def copy_of(constant: str) -> str:
    """The name of the output that `open_inside` gives to a constant.

    >>> copy_of("weight")
    'explain/weight'
    """
    return _COPY + constant


def open_inside(
    model: bytes, values: Sequence[str], constants: Sequence[str] = (), *, provider: str = "cpu"
) -> Session | None:
    """A model file with more outputs; None where it has no such values.

    Args:
        model: the bytes of a model file.
        values: names of values that its nodes compute.
        constants: names of its weights. Their outputs are called as `copy_of` says.
        provider: what runs the graph.
    """
    nodes = [_node(name) for name in constants]
    names = [*values, *map(copy_of, constants)]
    outputs = [_field(_OUTPUT, _field(_OUTPUT_NAME, name.encode())) for name in names]
    try:
        return Session(model + _field(_GRAPH, b"".join([*nodes, *outputs])), provider=provider)
    except UserError:  # the file itself has been loaded before, so that it is these values
        return None


def _node(constant: str) -> bytes:
    """A node that passes a constant on: a constant itself cannot be an output."""
    fields = {
        _NODE_INPUT: constant,
        _NODE_OUTPUT: copy_of(constant),
        _NODE_NAME: copy_of(constant),
        _NODE_OPERATOR: "Identity",
    }
    return _field(_NODE, b"".join(_field(key, text.encode()) for key, text in fields.items()))


def _field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that holds bytes, a text or a message."""
    length, rest = b"", len(content)
    while rest > 127:
        length += bytes([rest & 127 | 128])
        rest >>= 7
    return bytes([number << 3 | 2]) + length + bytes([rest]) + content

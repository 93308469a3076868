"""Values inside a model file that are none of its outputs, read by onnxruntime alone.

A serialised ONNX model is a protocol buffer. Of two that stand one behind the other, the second is
merged into the first: its nodes and outputs join the graph. So a few bytes behind the file give it
more outputs, and neither the package onnx nor another form of the file is needed. Source: "Last
One Wins" in https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tellapart.errors import UserError
from tellapart.modelfile.session import Session

# The numbers of the fields, from onnx.proto.
_GRAPH, _NODE, _INPUT, _OUTPUT = 7, 1, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATOR = 1, 2, 3, 4
_VALUE_NAME, _VALUE_TYPE, _TENSOR, _SHAPE, _AXIS = 1, 2, 1, 2, 1
_INT64 = b"\x08\x07"  # field 1, the type of a tensor's elements, is 7
_LENGTH = b"\x08"  # field 1, how long an axis is, is the byte that follows
_COPY = "explain/"  # begins the names of copies of constants


def copy_of(constant: str) -> str:
    """The name of the output that `open_inside` gives to a constant.

    >>> copy_of("weight")
    'explain/weight'
    """
    return _COPY + constant


def open_inside(
    model: bytes,
    values: Sequence[str],
    constants: Sequence[str] = (),
    *,
    changeable: Mapping[str, int] | None = None,
    provider: str = "cpu",
) -> Session | None:
    """A model file with more outputs; None where it has no such values.

    Args:
        model: the bytes of a model file.
        values: names of values that its nodes compute.
        constants: names of its weights. Their outputs are called as `copy_of` says.
        changeable: names of constants that a run may replace, and how many int64 each has.
        provider: what runs the graph.
    """
    nodes = [_node(name) for name in constants]
    names = [*values, *map(copy_of, constants)]
    outputs = [_field(_OUTPUT, _field(_VALUE_NAME, name.encode())) for name in names]
    # A constant that is an input too is what the input says, where it says anything.
    inputs = [_field(_INPUT, _integers(*item)) for item in (changeable or {}).items()]
    try:
        return Session(
            model + _field(_GRAPH, b"".join([*nodes, *inputs, *outputs])), provider=provider
        )
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


def _integers(name: str, count: int) -> bytes:
    """The description of a value of so many int64."""
    shape = _field(_SHAPE, _field(_AXIS, _LENGTH + bytes([count])))
    return _field(_VALUE_NAME, name.encode()) + _field(_VALUE_TYPE, _field(_TENSOR, _INT64 + shape))


def _field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer that holds bytes, a text or a message."""
    length, rest = b"", len(content)
    while rest > 127:
        length += bytes([rest & 127 | 128])
        rest >>= 7
    return bytes([number << 3 | 2]) + length + bytes([rest]) + content

"""Several nodes that are one layer: a bias after a convolution, batch normalisation written as arithmetic.

The nodes are looked at as the file has them; nothing is assumed about names.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from recast.formats.savedmodel import constants
from recast.formats.savedmodel.call import Call
from recast.formats.savedmodel.graph_def import Node
from recast.formats.savedmodel.scope import Handle, Held

_BIAS = ("BiasAdd", "BiasAddV1", "Add", "AddV2")
_STEPS = 16
_STILL = frozenset(
    {"Const", "VariableV2", "Variable", "VarHandleOp", "Identity", "ReadVariableOp", "Reshape", "Squeeze", "ExpandDims"}
)


def bias(c: Call, channels_last: bool) -> ir.Value | None:
    """The constant vector that the only user of ``c``'s node adds to its channels, or None."""
    users = c.scope.body.users.get(c.node.name, [])
    if len(users) != 1:
        return None
    user, place = users[0]
    if user.op not in _BIAS or len(user.data) != 2 or user.name in c.scope.results:
        return None
    if user.op.startswith("BiasAdd"):
        last = not str(user.attr("data_format", "NHWC")).startswith("NC")
        if place != 0 or (last != channels_last and user.op == "BiasAdd"):
            return None
    elif not channels_last:
        return None
    held = still(c, user.data[1 - place])
    if held is None or held.array.ndim != 1 or held.array.size != _channels(c):
        return None
    c.scope.absorbed.add(user.name)
    return constants.form(c.scope.reading, c.b, held, (f"{c.path}/bias", None, None))


def _channels(c: Call) -> int:
    """Output channels of a convolution or matrix product whose weight is known; -1 otherwise."""
    held = c.given[1]
    if not isinstance(held, Held):
        return -1
    shape = [int(d) for d in held.array.shape]
    if c.kind == "DepthwiseConv2dNative":
        return shape[2] * shape[3] if len(shape) == 4 else -1
    if c.kind == "MatMul":
        return shape[0] if c.flag("transpose_b") else shape[-1]
    if c.kind.endswith(("Input", "InputV2")):
        return shape[-2]
    return shape[-1]


def still(c: Call, text: str) -> Held | None:
    """A constant or variable, maybe reshaped, without reading anything else of the graph; None for what is computed."""
    waiting, steps = [text], 0
    while waiting:
        steps += 1
        name, number = c.scope.reading.program.reference(c.scope.body, waiting.pop())
        bound, node = c.scope.results.get(name), c.scope.body.nodes.get(name)
        if isinstance(bound, dict):
            if not isinstance(bound.get(number), Handle | Held):
                return None
        elif node is None or node.op not in _STILL or steps > _STEPS:
            return None
        else:
            waiting += node.data
    found = c.scope.thing(text)
    found = c.scope.reading.variable(found) if isinstance(found, Handle) else found
    return found if isinstance(found, Held) else None


@dataclass(frozen=True)
class _Normalised:
    """x and the vectors of batch normalisation."""

    x: str
    scale: Held | None
    offset: Held
    mean: Held
    variance: Held
    epsilon: float

    @property
    def rank(self) -> int:
        """Axes of the vectors: those before the last are 1."""
        return max(v.array.ndim for v in (self.scale, self.offset, self.mean, self.variance) if v is not None)


def batch_normalised(c: Call) -> ir.Value | None:
    """``x · m + (offset − mean · m)`` with ``m = 1/√(variance + ε) · scale`` is batch normalisation over the last axis.

    (``tf.nn.batch_normalization``; Ioffe & Szegedy 2015, algorithm 2.)
    """
    for first, second in (c.node.data, c.node.data[::-1]):
        found = _match(c, first, second)
        if found is None:
            continue
        x = c.value(c.scope.thing(found.x))
        size = found.mean.array.size
        if x.shape is None or len(x.shape) < max(2, found.rank) or x.shape[-1] != size:
            return None
        return _emit(c, x, found)
    return None


def _emit(c: Call, x: ir.Value, found: _Normalised) -> ir.Value:
    vectors = []
    for role, held in (("gamma", found.scale), ("beta", found.offset), ("mean", found.mean), ("var", found.variance)):
        if held is None:
            held = Held(found.mean.array * 0 + 1, f"{c.path}/gamma")
            c.scope.reading.allocate(held.array.nbytes, c.place())
        form = (f"{c.path}/{role}", None, (held.array.size,))
        vectors.append(constants.form(c.scope.reading, c.b, held, form))
    value = c.op("BatchNormalization", [c.b.channels_first(x), *vectors], epsilon=found.epsilon)
    return c.b.channels_last(value)


def _match(c: Call, product: str, shift: str) -> _Normalised | None:
    scaled, rest = _node(c, product, "Mul"), _node(c, shift, "Sub")
    if scaled is None or rest is None:
        return None
    offset, mean_part = still(c, rest.data[0]), _node(c, rest.data[1], "Mul")
    if offset is None or mean_part is None:
        return None
    for x, multiplier in (scaled.data, scaled.data[::-1]):
        for mean_text, again in (mean_part.data, mean_part.data[::-1]):
            mean = still(c, mean_text)
            if mean is None or _source(c, multiplier) != _source(c, again):
                continue
            parts = _multiplier(c, multiplier)
            if parts is None:
                continue
            scale, variance, epsilon = parts
            vectors = [v for v in (scale, offset, mean, variance) if v is not None]
            if all(v.array.shape[-1:] == (mean.array.size,) == (v.array.size,) for v in vectors):
                return _Normalised(x, scale, offset, mean, variance, epsilon)
    return None


def _multiplier(c: Call, text: str) -> tuple[Held | None, Held, float] | None:
    """(scale, variance, epsilon) of ``rsqrt(variance + epsilon) [* scale]``."""
    node = _node(c, text, "Mul", "Rsqrt")
    if node is None:
        return None
    options = [(text, None)] if node.op == "Rsqrt" else [(node.data[0], node.data[1]), (node.data[1], node.data[0])]
    for root, factor in options:
        scale = still(c, factor) if factor is not None else None
        inverse = _node(c, root, "Rsqrt")
        total = None if inverse is None else _node(c, inverse.data[0], "Add", "AddV2")
        if total is None or (factor is not None and scale is None):
            continue
        sides = sorted((s for s in (still(c, t) for t in total.data) if s is not None), key=lambda s: s.array.size)
        if len(sides) == 2 and sides[0].array.ndim == 0 and sides[1].array.ndim > 0:
            return scale, sides[1], float(sides[0].array)
    return None


def _source(c: Call, text: str) -> tuple[str, int]:
    return c.scope.reading.program.reference(c.scope.body, text)


def _node(c: Call, text: str, *kinds: str) -> Node | None:
    """The node behind identities, if it is of one of these kinds."""
    for _ in range(_STEPS):
        name, number = _source(c, text)
        node = c.scope.body.nodes.get(name)
        if node is None or number:
            return None
        if node.op != "Identity":
            return node if node.op in kinds and (len(node.data) == 2 or node.op == "Rsqrt") else None
        text = node.data[0]
    return None

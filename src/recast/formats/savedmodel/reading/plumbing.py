"""Constants, variables, identities and calls."""

from __future__ import annotations

import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.savedmodel import tensors
from recast.formats.savedmodel.call import Call
from recast.formats.savedmodel.reading import reads
from recast.formats.savedmodel.scope import Handle, Held


@reads("Const")
def const(c: Call) -> None:
    """An array of the file."""
    value = c.attr("value")
    if not isinstance(value, dict):
        raise c.bad("no value")
    c.out(Held(tensors.array(value, c.place()), c.scope.place(c.node)))


@reads(
    *("Identity", "Snapshot", "StopGradient", "PreventGradient", "CheckNumerics", "CheckNumericsV2", "EnsureShape"),
    *("RefIdentity", "OptimizationBarrier", "DebugIdentityV2", "DebugIdentity"),
)
def identity(c: Call) -> None:
    """The input itself."""
    if c.kind.startswith("CheckNumerics"):
        c.tell("a check for NaN and infinity is left out: such values pass")
    c.out(c.thing(0))


@reads("IdentityN")
def identity_n(c: Call) -> None:
    """The inputs themselves."""
    c.outs(c.given)


@reads("PlaceholderWithDefault")
def placeholder_with_default(c: Call) -> None:
    """An input that is not in the signature keeps its default."""
    c.tell("an optional input is fixed to its default")
    c.out(c.thing(0))


@reads("Placeholder", "PlaceholderV2")
def placeholder(c: Call) -> None:
    """An input that the signature does not name."""
    raise UnsupportedOp("an input that is not in the signature")


@reads("VarHandleOp", "VariableV2", "Variable", "AutoReloadVariable")
def variable(c: Call) -> None:
    """A variable; TensorFlow 1 uses its value directly."""
    if c.scope.body is not c.scope.reading.program.main:
        raise UnsupportedOp("a variable inside a function")
    handle = Handle(c.node.name)
    c.out(handle if c.kind == "VarHandleOp" else c.scope.reading.variable(handle))


@reads("ReadVariableOp")
def read_variable(c: Call) -> None:
    """The value that the checkpoint holds."""
    handle = c.thing(0)
    if not isinstance(handle, Handle):
        raise UnsupportedOp("a resource that is no variable")
    c.out(c.scope.reading.variable(handle))


@reads("VariableShape")
def variable_shape(c: Call) -> None:
    """The shape of a variable's value."""
    import numpy as np

    handle = c.thing(0)
    if not isinstance(handle, Handle):
        raise UnsupportedOp("a resource that is no variable")
    shape = c.scope.reading.variable(handle).array.shape
    c.out(Held(np.array(shape, c.type_attr("out_type", 3).numpy()), c.scope.place(c.node)))


@reads("PartitionedCall", "StatefulPartitionedCall")
def call(c: Call) -> None:
    """The function's nodes take the call's place; also for nodes whose operator is a function's name."""
    name = str(c.attr("f", "")) if c.kind in ("PartitionedCall", "StatefulPartitionedCall") else c.kind
    c.outs(c.inline(name, c.given))


@reads("Cast")
def cast(c: Call) -> None:
    """To another type; floats are cut towards zero."""
    wanted = c.type_attr("DstT", 0)
    if c.flag("Truncate"):
        raise UnsupportedOp("Cast that cuts bits instead of rounding")
    thing = c.thing(0)
    if (
        isinstance(thing, Held)
        and thing.array.size <= 64
        and {thing.array.dtype.kind, wanted.numpy().kind} <= {"i", "u"}
    ):
        c.out(Held(thing.array.astype(wanted.numpy()), thing.name))
        return
    value = c.x(0)
    if wanted == ir.DataType.BOOL and value.dtype is not None and value.dtype.is_floating_point():
        value = c.op("Not", [c.op("Equal", [value, c.ones(value, 0)])])
    c.out(c.cast(value, wanted))

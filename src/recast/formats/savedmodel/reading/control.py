"""Conditions and loops: functions become sub-graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from recast.errors import UnsupportedOp
from recast.formats.savedmodel import constants
from recast.formats.savedmodel.call import Call
from recast.formats.savedmodel.lists import as_tensor, start
from recast.formats.savedmodel.loops import Loop
from recast.formats.savedmodel.names import below
from recast.formats.savedmodel.reading import reads
from recast.formats.savedmodel.recurrent import recurrent
from recast.formats.savedmodel.scope import DEAD, Absent, Held, TensorList, Thing
from recast.graph.build import Builder


def _condition(c: Call, value: ir.Value, builder: Builder) -> ir.Value:
    """A scalar truth value; numbers are true where they are not zero."""
    if value.dtype != ir.DataType.BOOL:
        value = builder.op("Cast", [value], {"to": ir.DataType.BOOL})
    if value.shape is not None and len(value.shape) == 0:
        return value
    return builder.op("Reshape", [value, builder.const(np.zeros(0, np.int64), np.int64, "shape")])


@reads("If", "StatelessIf")
def if_(c: Call) -> None:
    """Both branches see the outer values directly; a known condition leaves one branch."""
    names = [str(c.attr(n, "")) for n in ("then_branch", "else_branch")]
    known = c.array(0)
    if known is not None and known.size == 1:
        c.outs(c.inline(names[0 if known.reshape(-1)[0] else 1], c.given[1:]))
        return
    graphs = [_branch(c, name) for name in names]
    if len(graphs[0].outputs) != len(graphs[1].outputs):
        raise c.bad("the branches have different numbers of outputs")
    branches = {"then_branch": graphs[0], "else_branch": graphs[1]}
    results = c.b.node("If", [_condition(c, c.x(0), c.b)], branches, len(graphs[0].outputs))
    for value, *ends in zip(results, *(g.outputs for g in graphs), strict=True):
        value.type = value.type or ends[0].type
        value.shape = _common(ends)
    c.outs(results)


def _branch(c: Call, function: str) -> ir.Graph:
    builder = c.scope.reading.builder(f"{c.path}/branch")
    for thing in c.scope.inline(function, c.given[1:], below(c.scope.prefix, c.node), builder):
        builder.output(builder.op("Identity", [_tensor(c, thing, builder)]))
    return builder.graph()


def _tensor(c: Call, thing: Thing, builder: Builder) -> ir.Value:
    if isinstance(thing, Absent):  # an operator inside cannot be read; it is told with the others
        raise UnsupportedOp("something inside cannot be read")
    if isinstance(thing, Held):
        return constants.value(c.scope.reading, builder, thing)
    return c.value(thing, "a result")


def _common(values: Sequence[ir.Value]) -> ir.Shape | None:
    """The shape that all share; None for dimensions that differ."""
    shapes = [v.shape for v in values]
    first = shapes[0]
    if first is None or any(s is None or len(s) != len(first) for s in shapes):
        return None
    return ir.Shape([d if all(s is not None and s[i] == d for s in shapes) else None for i, d in enumerate(first)])


@dataclass
class _Turn:
    """One reading of a loop's body."""

    builder: Builder
    values: list[ir.Value]  # inside, at the start of a turn, of the values that change
    results: list[Thing]


@reads("While", "StatelessWhile")
def while_(c: Call) -> None:
    """Loop; values that never change are seen directly, plain counters become the number of turns."""
    functions = c.scope.reading.program.functions
    condition, body = functions.get(str(c.attr("cond", ""))), functions.get(str(c.attr("body", "")))
    if condition is None or body is None:
        raise c.bad("there is no such function")
    if not len(body.arguments) == len(body.results) == len(condition.arguments) == c.count:
        raise c.bad("the functions do not fit the loop's values")
    loop = Loop(c.scope.reading.program, condition, body)
    changing = [i for i in range(c.count) if not loop.unchanged(i)]
    if recurrent(c, loop, changing, _turns(c, loop)):
        return
    begin, turn = _settle(c, changing)
    turns, first = _turns(c, loop), None
    if turns is None:
        first = _condition(c, _ask(c, c.b, list(c.given)), c.b)
        after = list(c.given)
        for place, thing in zip(changing, turn.results, strict=True):
            after[place] = thing
        goes_on = _condition(c, _ask(c, turn.builder, after), turn.builder)
    else:
        goes_on = turn.builder.inputs[1]
    turn.builder.output(turn.builder.op("Identity", [goes_on]))
    ends = [as_tensor(c, t, turn.builder) for t in turn.results]
    for value in ends:
        turn.builder.output(turn.builder.op("Identity", [value]))
    results = c.b.node("Loop", [turns, first, *begin], {"body": turn.builder.graph()}, len(begin))
    for place, value, outer, inner, end in zip(changing, results, begin, turn.values, ends, strict=True):
        value.type = outer.type
        value.shape = _common([outer, inner, end])
        thing = c.given[place]
        c.out(_as_before(thing, value) if isinstance(thing, TensorList) else value, place)
    for place in set(range(c.count)) - set(changing):
        c.out(c.given[place], place)


def _as_before(thing: TensorList, value: ir.Value) -> TensorList:
    return TensorList(value, thing.count, thing.element, thing.dtype)


def _ask(c: Call, builder: Builder, things: list[Thing]) -> ir.Value:
    found = c.scope.inline(str(c.attr("cond", "")), things, below(c.scope.prefix, c.node), builder)
    return _tensor(c, found[0], builder)


def _settle(c: Call, changing: list[int]) -> tuple[list[ir.Value], _Turn]:
    """Read the body with the shapes at the start; again with fewer known sizes while they change from turn to turn."""
    things = [c.given[i] for i in changing]
    loose: list[set[int]] = [set() for _ in changing]
    for _ in range(4):
        begin = [None if isinstance(t, TensorList) and t.value is None else as_tensor(c, t, c.b) for t in things]
        turn = _turn(c, changing, (things, begin), loose)
        inside, again = iter(turn.values), False
        for number, (outer, result) in enumerate(zip(begin, turn.results, strict=True)):
            if isinstance(result, Absent):
                raise UnsupportedOp("something inside cannot be read")
            if outer is None:  # a list of which the first turn told what it holds
                if not isinstance(result, TensorList) or result.element is None:
                    raise UnsupportedOp("a list whose elements' shape is unknown")
                things[number] = start(c, result)
                again = True
                continue
            moved = _moved(next(inside), as_tensor(c, result, turn.builder)) - loose[number]
            loose[number] |= moved
            again = again or bool(moved)
        if not again:
            return [v for v in begin if v is not None], turn
        c.scope.reading.discard(turn.builder)
    raise UnsupportedOp("values whose shapes keep changing")


def _moved(inside: ir.Value, end: ir.Value) -> set[int]:
    """The axes whose size is not the same at the end of a turn."""
    if inside.shape is None or end.shape is None or len(inside.shape) != len(end.shape):
        if inside.shape is None and end.shape is None:
            return set()
        raise UnsupportedOp("a value whose rank changes from turn to turn")
    return {i for i, (a, b) in enumerate(zip(inside.shape, end.shape, strict=True)) if a != b or a is None}


def _turn(
    c: Call, changing: list[int], begin: tuple[list[Thing], list[ir.Value | None]], loose: list[set[int]]
) -> _Turn:
    builder = c.scope.reading.builder(f"{c.path}/body")
    builder.input(f"{c.path}/turn", ir.DataType.INT64, ())
    builder.input(f"{c.path}/go", ir.DataType.BOOL, ())
    given, values = list(c.given), list[ir.Value]()
    for number, (place, thing, outer) in enumerate(zip(changing, *begin, strict=True)):
        if outer is None:
            continue
        dims: list[int | str | None] = []
        for axis, dim in enumerate(outer.shape or ()):
            known = dim if isinstance(dim, int) else dim.value
            dims.append(f"{c.path}/value{number}_{axis}" if axis in loose[number] else known)
        if outer.dtype is None:
            raise UnsupportedOp("a value of unknown type")
        value = builder.input(f"{c.path}/value{number}", outer.dtype, dims)
        if outer.shape is None:
            value.shape = None
        values.append(value)
        given[place] = _as_before(thing, value) if isinstance(thing, TensorList) else value
    results = c.scope.inline(str(c.attr("body", "")), given, below(c.scope.prefix, c.node), builder)
    return _Turn(builder, values, [results[i] for i in changing])


def _turns(c: Call, loop: Loop) -> ir.Value | None:
    """The number of turns as a scalar, or None where the condition must be computed every time."""
    counts = loop.counts()
    if not counts:
        return None
    numbers, computed = list[int](), list[ir.Value]()
    for count in counts:
        begin = c.array(count.place)
        bound = np.array(count.bound) if count.fixed else c.array(count.bound)
        if begin is None or begin.size != 1:
            return None
        low = int(begin.reshape(-1)[0])
        if bound is not None and bound.size == 1:
            numbers.append(max(0, -(-(int(bound.reshape(-1)[0]) - low) // count.step)))
        elif low == 0 and count.step == 1:
            computed.append(c.reshape(c.int64(count.bound), []))
        else:
            return None
    if numbers:
        computed.append(c.b.const(min(numbers), np.int64, "turns"))
    parts = [constants.partial(c.scope.reading, v) for v in computed]
    same = all(p is not None and p == parts[0] and None not in p.entries for p in parts)
    return computed[0] if len(computed) == 1 or same else c.op("Min", computed)


@reads("Switch", "RefSwitch")
def switch(c: Call) -> None:
    """TensorFlow 1's fork: a known condition lets one side die; otherwise both sides are computed."""
    known = c.array(1)
    if known is None:
        c.outs([c.thing(0), c.thing(0)])
    else:
        c.outs([DEAD, c.thing(0)] if known.reshape(-1)[0] else [c.thing(0), DEAD])


@reads("Merge", "RefMerge")
def merge(c: Call) -> None:
    """The side that lives; Where if both do, which chooses between results of one shape."""
    alive = [t for t in c.given if t is not DEAD]
    if any(isinstance(t, Absent) for t in alive):
        c.scope.results[c.node.name] = next(t for t in alive if isinstance(t, Absent))
        return
    if len(alive) == 1:
        number = next(i for i, t in enumerate(c.given) if t is alive[0])
        c.outs([alive[0], Held(np.array(number, np.int32), c.scope.place(c.node))])
        return
    if len(alive) != 2 or c.count != 2:
        raise UnsupportedOp(f"{len(alive)} sides of a condition")
    sides = [_side(c, text) for text in c.node.data]
    if None in sides or sides[0] == sides[1] or sides[0][0] != sides[1][0]:  # type: ignore[index]
        raise UnsupportedOp("a condition whose sides cannot be told apart")
    yes, no = (0, 1) if sides[0][1] else (1, 0)  # type: ignore[index]
    values = [c.x(0), c.x(1)]
    if values[0].shape is None or values[1].shape is None or list(values[0].shape) != list(values[1].shape):
        raise UnsupportedOp("a condition whose sides have different or unknown shapes")
    flag = c.value(c.scope.thing(sides[0][0]))  # type: ignore[index]
    c.out(c.op("Where", [flag, values[yes], values[no]]))


def _side(c: Call, text: str) -> tuple[str, bool] | None:
    """The condition and side that a Merge's input comes from: the first open fork behind it."""
    waiting, seen = [(text, 0)], set[tuple[str, int]]()
    while waiting:
        c.scope.reading.search()
        here, level = waiting.pop()
        name, number = c.scope.reading.program.reference(c.scope.body, here.removeprefix("^"))
        node = c.scope.body.nodes.get(name)
        if node is None or (here, level) in seen:
            continue
        seen.add((here, level))
        if node.op in ("Switch", "RefSwitch"):
            if level == 0:
                return _plain(c, node.data[1]), bool(number)
            level -= 1
        elif node.op in ("Merge", "RefMerge"):
            level += 1
        waiting += [(t, level) for t in (node.inputs if not node.data else node.data)]
    return None


def _plain(c: Call, text: str) -> str:
    """A condition without the identities around it."""
    for _ in range(16):
        node = c.scope.body.nodes.get(c.scope.reading.program.reference(c.scope.body, text)[0])
        if node is None or node.op != "Identity":
            break
        text = node.data[0]
    return text

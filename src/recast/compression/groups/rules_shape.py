"""How entries of axes go together through operators that move, join, split and count them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from recast.compression.groups.atoms import Atoms, Axes, Axis, Follow
from recast.compression.groups.rules import _all, _first, _sizes, keep, rule
from recast.graph.view import attr, const

Size = int | str | None


@rule("transpose")
def _transpose(atoms: Atoms, node: ir.Node) -> None:
    x = _first(atoms, node)
    perm = attr(node, "perm", list(range(len(x)))[::-1])
    _all(atoms, node, [x[p] for p in perm])


@rule("squeeze", "unsqueeze")
def _squeeze(atoms: Atoms, node: ir.Node) -> None:
    x, size = list(_first(atoms, node)), len(_sizes(node.outputs[0]))
    given = const(node.inputs[1]) if len(node.inputs) > 1 else None
    if node.op_type == "Unsqueeze" and given is not None:
        for axis in sorted(int(a) % size for a in given.reshape(-1)):
            x.insert(axis, None)
        return _all(atoms, node, x)
    sizes = _sizes(node.inputs[0])
    if node.op_type == "Squeeze":
        axes = [int(a) % len(x) for a in given.reshape(-1)] if given is not None else []
        axes = axes or [i for i, d in enumerate(sizes) if d == 1]
        return _all(atoms, node, [a for i, a in enumerate(x) if i not in axes])
    return keep(atoms, node)


@rule("concat")
def _concat(atoms: Atoms, node: ir.Node) -> None:
    parts = [(atoms.of(v), _sizes(v)) for v in node.inputs if v is not None]
    axis = int(attr(node, "axis", 0)) % len(parts[0][0])
    made: Axes = list(parts[0][0])
    for other, _ in parts[1:]:
        for place in range(len(made)):
            if place != axis:
                made[place] = atoms.join(made[place], other[place])
    along = [_with_atoms(atoms, a[axis], s[axis]) for a, s in parts]
    if any(a is None for a in along) or all(a[axis] is None for a, _ in parts):
        atoms.fix(*along)
        made[axis] = None
    else:
        made[axis] = np.concatenate([a for a in along if a is not None])
    return _all(atoms, node, made)


def _with_atoms(atoms: Atoms, axis: Axis, size: Size) -> Axis:
    """The axis with atoms: entries without any get such as stay."""
    return axis if axis is not None or not isinstance(size, int) else atoms.fixed(size)


@rule("split")
def _split(atoms: Atoms, node: ir.Node) -> None:
    x = _first(atoms, node)
    axis, start = int(attr(node, "axis", 0)) % len(x), 0
    whole, parts = x[axis], []
    for value in node.outputs:
        size = _sizes(value)[axis]
        part = whole[start : start + size] if whole is not None and isinstance(size, int) else None
        atoms.set(value, [part if i == axis else a for i, a in enumerate(x)])
        start += size if isinstance(size, int) else 0
        parts.append(part)
    if whole is not None:
        if any(p is None for p in parts):
            atoms.fix(whole)
        atoms.follows.append(Follow("split", node, tuple(parts)))


@rule("slice")
def _slice(atoms: Atoms, node: ir.Node) -> None:
    x, given = list(_first(atoms, node)), [g for g in map(const, node.inputs[1:]) if g is not None]
    if len(given) < len(node.inputs) - 1:
        return keep(atoms, node)
    starts, ends = (g.reshape(-1).tolist() for g in given[:2])
    axes = given[2].reshape(-1).tolist() if len(given) > 2 else list(range(len(starts)))
    steps = given[3].reshape(-1).tolist() if len(given) > 3 else [1] * len(starts)
    before = list(x)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        whole = x[axis]
        if whole is None:
            continue
        if step != 1:
            atoms.fix(whole)
        x[axis] = whole[slice(start, end, step) if step > 0 else slice(None)]
        if step < 0:
            x[axis] = None
    if any(a is not b for a, b in zip(before, x, strict=True)):
        atoms.follows.append(Follow("slice", node, tuple(before)))
    return _all(atoms, node, x)


@rule("pad")
def _pad(atoms: Atoms, node: ir.Node) -> None:
    x, pads = list(_first(atoms, node)), const(node.inputs[1])
    axes = const(node.inputs[3]) if len(node.inputs) > 3 else None
    if pads is None or (len(node.inputs) > 3 and node.inputs[3] is not None and axes is None):
        return keep(atoms, node)
    places = [int(a) % len(x) for a in axes.reshape(-1)] if axes is not None else list(range(len(x)))
    amounts, before = pads.reshape(2, -1).tolist(), list(x)
    for place, front, back in zip(places, *amounts, strict=True):
        if x[place] is None or not (front or back):
            continue
        if attr(node, "mode", "constant") != "constant" or front < 0 or back < 0:
            atoms.fix(x[place])
            x[place] = None
        else:
            x[place] = np.concatenate([atoms.fresh(front), x[place], atoms.fresh(back)])
    if any(a is not b for a, b in zip(before, x, strict=True)):
        atoms.follows.append(Follow("pad", node, tuple(x)))
    return _all(atoms, node, x)


@rule("gather")
def _gather(atoms: Atoms, node: ir.Node) -> None:
    x, indices = _first(atoms, node), atoms.of(node.inputs[1])
    axis = int(attr(node, "axis", 0)) % len(x)
    atoms.fix(x[axis], *indices)
    _all(atoms, node, [*x[:axis], *[None] * len(indices), *x[axis + 1 :]])


@rule("expand", "tile")
def _expand(atoms: Atoms, node: ir.Node) -> None:
    x, before, after = list(_first(atoms, node)), _sizes(node.inputs[0]), _sizes(node.outputs[0])
    lead = len(after) - len(before)
    made: Axes = [None] * lead
    for axis, old, new in zip(x, before, after[lead:], strict=True):
        if old != new or not isinstance(old, int):
            atoms.fix(axis)
            made.append(None)
        else:
            made.append(axis)
    if node.op_type == "Expand" and any(a is not None for a in made):
        if const(node.inputs[1]) is not None:
            atoms.follows.append(Follow("shape", node, tuple(made)))
        elif not _follow_pieces(atoms, node, made):
            return keep(atoms, node)
    return _all(atoms, node, made)


@rule("shape")
def _shape(atoms: Atoms, node: ir.Node) -> None:
    """Whoever reads a size must not see it change; where only some sizes are picked, the others may."""
    x = _first(atoms, node)
    read: set[int] = set()
    for use in node.outputs[0].uses():
        picked = const(use.node.inputs[1]) if use.node.op_type == "Gather" and use.idx == 0 else None
        if picked is None or node.op_type != "Shape" or attr(node, "start", 0):
            read = set(range(len(x)))
            break
        read |= {int(i) % max(1, len(x)) for i in picked.reshape(-1)}
    if node.outputs[0].is_graph_output():
        read = set(range(len(x)))
    atoms.fix(*(x[i] for i in read))
    _all(atoms, node, [None] * len(_sizes(node.outputs[0])))


@rule("flatten", "reshape")
def _reshape(atoms: Atoms, node: ir.Node) -> None:
    x, before, after = _first(atoms, node), _sizes(node.inputs[0]), _sizes(node.outputs[0])
    if all(a is None for a in x):
        return _all(atoms, node, [None] * len(after))
    target = const(node.inputs[1]) if node.op_type == "Reshape" else None
    counted = node.op_type == "Flatten" or target is not None or _pieces(node) is not None
    if target is not None and not attr(node, "allowzero", 0):
        _name_copies(before, after, target)
    segments = _segments(before, after) or _from_the_right(before, after)
    if not counted:
        return keep(atoms, node)
    made: Axes = [None] * len(after)
    for old, new in segments:
        last = bool(new) and new[-1] == len(after) - 1
        parts = _regroup(atoms, [x[i] for i in old], [before[i] for i in old], [after[i] for i in new], last)
        for place, part in zip(new, parts, strict=True):
            made[place] = part
    if node.op_type == "Reshape" and any(a is not None for a in made):
        if target is None and not _follow_pieces(atoms, node, made):
            return keep(atoms, node)
        if target is not None:
            atoms.follows.append(Follow("shape", node, tuple(made)))
    return _all(atoms, node, made)


def _name_copies(before: list[Size], after: list[Size], target: np.ndarray) -> None:
    """A 0 in the target copies the size of the same place, also one that nobody knows."""
    for place, wanted in enumerate(target.reshape(-1).tolist()):
        if wanted == 0 and not isinstance(before[place], int):
            before[place] = after[place] = f"copy {place}"


def _pieces(node: ir.Node) -> list[tuple[int, int, int] | None] | None:
    """Where a target that is put together while running comes from: of each axis (input of the Concat, place, size).

    None for an axis whose size is computed; None in all if the target is no such Concat, or others use it, too.
    """
    given = node.inputs[1]
    made_by = given.producer() if given is not None else None
    if given is None or made_by is None or made_by.op_type != "Concat" or len(list(given.uses())) != 1:
        return None
    found: list[tuple[int, int, int] | None] = []
    for index, value in enumerate(made_by.inputs):
        held, sizes = const(value), _sizes(value)
        if len(sizes) != 1 or not isinstance(sizes[0], int):
            return None
        numbers = held.tolist() if held is not None else [None] * sizes[0]
        found += [(index, place, n) if n is not None and n > 0 else None for place, n in enumerate(numbers)]
    return found


def _follow_pieces(atoms: Atoms, node: ir.Node, made: Axes) -> bool:
    """The Concat's constants change with the axes; False if the size of one of these is computed."""
    pieces = _pieces(node)
    if pieces is None or len(pieces) != len(made):
        return False
    if any(axis is not None and piece is None for axis, piece in zip(made, pieces, strict=True)):
        return False
    given = node.inputs[1]
    made_by = given.producer() if given is not None else None
    if made_by is not None:
        axes = [a if p is not None else None for a, p in zip(made, pieces, strict=True)]
        atoms.follows.append(Follow("pieces", made_by, tuple(axes)))
    return True


def _segments(before: Sequence[Size], after: Sequence[Size]) -> list[tuple[list[int], list[int]]] | None:
    """Smallest runs of axes whose sizes have equal products; None where symbolic sizes leave it open."""
    if _open(before) == _open(after) == 1 and _known_product(before) == _known_product(after):
        before, after = ([d if _known(d) else "rest" for d in s] for s in (before, after))
    found: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        if i < len(before) and before[i] == 1 and j < len(after) and not isinstance(after[j], int):
            found.append(([i], []))
            i += 1
            continue
        if j < len(after) and after[j] == 1 and i < len(before) and not isinstance(before[i], int):
            found.append(([], [j]))
            j += 1
            continue
        old, new = [i] if i < len(before) else [], [j] if j < len(after) else []
        i, j = i + len(old), j + len(new)
        if any(not isinstance(before[k], int) for k in old) or any(not isinstance(after[k], int) for k in new):
            if not old or not new or before[old[0]] != after[new[0]] or before[old[0]] is None:
                return None
            found.append((old, new))
            continue
        while _product(before, old) != _product(after, new):
            if _product(before, old) < _product(after, new):
                if i >= len(before) or not isinstance(before[i], int):
                    return None
                old.append(i)
                i += 1
            else:
                if j >= len(after) or not isinstance(after[j], int):
                    return None
                new.append(j)
                j += 1
        found.append((old, new))
    return found


def _from_the_right(before: Sequence[Size], after: Sequence[Size]) -> list[tuple[list[int], list[int]]]:
    """Runs of known sizes at the end whose products are equal; all in front of them is one run of whatever sizes."""
    found: list[tuple[list[int], list[int]]] = []
    i, j = len(before), len(after)
    while i and j and isinstance(before[i - 1], int) and isinstance(after[j - 1], int):
        old, new = [i - 1], [j - 1]
        while (a := _product(before, old)) != (b := _product(after, new)):
            side, sizes = (old, before) if a < b else (new, after)
            if side[0] == 0 or not isinstance(sizes[side[0] - 1], int):
                return [(list(range(i)), list(range(j))), *found]
            side.insert(0, side[0] - 1)
        i, j = old[0], new[0]
        found.insert(0, (old, new))
    return [(list(range(i)), list(range(j))), *found]


def _known(size: Size) -> bool:
    return isinstance(size, int) or (size is not None and size.startswith("copy "))


def _open(sizes: Sequence[Size]) -> int:
    return sum(not _known(d) for d in sizes)


def _known_product(sizes: Sequence[Size]) -> int:
    return math.prod(d for d in sizes if isinstance(d, int))


def _product(sizes: Sequence[Size], places: list[int]) -> int:
    return math.prod(d for d in (sizes[p] for p in places) if isinstance(d, int))


def _regroup(atoms: Atoms, axes: Axes, old: list[Size], new: list[Size], last: bool) -> Axes:
    """Atoms of axes that are merged and split in row-major order."""
    named = [i for i, a in enumerate(axes) if a is not None]
    if len(named) != 1:
        atoms.fix(*axes)
        return [None] * len(new)
    if len(axes) == len(new) == 1:
        return list(axes)
    if any(not isinstance(d, int) for d in (*old, *new)):
        atoms.fix(*axes)
        return [None] * len(new)
    axis = axes[named[0]]
    assert axis is not None  # noqa: S101 chosen above
    shape = [len(axis) if i == named[0] else 1 for i in range(len(old))]
    before, after = ([d for d in sizes if isinstance(d, int)] for sizes in (old, new))
    flat = np.broadcast_to(axis.reshape(shape), before).reshape(after)
    long = [i for i, d in enumerate(new) if d != 1]
    if not long:
        atoms.fix(axis)
        return [None] * len(new)
    carrier = _carrier(flat, long, last)
    table = np.moveaxis(flat, carrier, 0).reshape(flat.shape[carrier], -1)
    if table.shape[1] > 1:
        atoms.join(np.repeat(table[:, 0], table.shape[1] - 1), table[:, 1:].reshape(-1))
    return [table[:, 0].copy() if i == carrier else None for i in range(len(new))]


def _carrier(flat: np.ndarray, long: list[int], last: bool) -> int:
    """The axis along which entries go on: the only one that tells them apart, or of (heads, size) the heads."""
    for place in long:
        table = np.moveaxis(flat, place, 0).reshape(flat.shape[place], -1)
        if (table == table[:, :1]).all():
            return place
    return long[-2] if last and len(long) > 1 else long[-1]

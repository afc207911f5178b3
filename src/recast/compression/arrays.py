"""Bare arrays (``.npy``, ``.npz``, ``.safetensors``, state dicts): prune, cut dead rows and columns, store in less.

There is no graph that says which tensor reads which, so each tensor is changed by itself. What was cut is told by the
indices that were kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from recast.compression._method import Plan, Skip
from recast.compression.edits import Edit, SetWeight
from recast.compression.prune import _masks
from recast.compression.recipe import Prune, Quantize, Step
from recast.errors import BadRecipe
from recast.graph.finding import Finding
from recast.graph.infer import constant

if TYPE_CHECKING:
    import onnx_ir as ir

KEPT = ".kept.json"
SCHEMA = "recast.kept/1"
_HALVES = {"float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
_ALONE = "every tensor is cut by itself: tensors that fitted together may not any more"


@dataclass(frozen=True)
class Shrunk:
    """Tensors after all steps.

    Attributes:
        tensors: arrays by name.
        plans: one a step.
        kept: by tensor the shape it had and, for its first two axes, the indices that stay (None: all).
    """

    tensors: dict[str, np.ndarray]
    plans: tuple[Plan, ...] = ()
    kept: dict[str, dict[str, Any]] | None = None

    def kept_table(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"schema": SCHEMA, "tensors": self.kept or {}}


def shrink(model: ir.Model, steps: Sequence[Step]) -> Shrunk:
    """Do the steps on a model's initializers; the model is not changed.

    Raises:
        BadRecipe: a step needs a graph.
    """
    held = {n: v.const_value.numpy() for n, v in model.graph.initializers.items() if v.const_value is not None}
    done = Shrunk(held)
    for step in steps:
        if isinstance(step, Prune) and step.structured and step.kind in ("", "structured") and not step.options:
            done = _cut(done, step)
        elif isinstance(step, Prune) and step.kind in ("", "magnitude"):
            done = _zero(done, step)
        elif isinstance(step, Quantize) and step.kind in ("int8", "int8-weights", *_HALVES) and not step.options:
            done = _store(done, step.kind)
        else:
            told = step.as_dict()
            raise BadRecipe(
                f"{told['family']} '{told['method']}' needs a graph, not only weights",
                fix="on arrays: --prune, --prune-threshold, --structured, --quantize int8|float16|bfloat16",
            )
    return done


def put(model: ir.Model, tensors: dict[str, np.ndarray]) -> ir.Model:
    """A model of these tensors and nothing else."""
    import onnx_ir as ir

    made = model.clone()
    made.graph.initializers.clear()
    for name, array in tensors.items():
        tensor = constant(np.ascontiguousarray(array), name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        made.graph.initializers.add(value)
    return made


def _real(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" or array.dtype == ml_dtypes.bfloat16


def _matrices(done: Shrunk) -> tuple[list[str], list[Skip]]:
    """Tensors of real numbers with two axes or more (one axis: only if it is all there is), and the others."""
    wanted, skips = [], []
    for name, array in done.tensors.items():
        if not _real(array):
            skips.append(Skip(name, f"{array.dtype} is no type of weights"))
        elif not array.size or not np.isfinite(array.astype(np.float32)).all():
            skips.append(Skip(name, "it is empty, or not all finite"))
        elif array.ndim < 2 and len(done.tensors) > 1:
            skips.append(Skip(name, "one axis: a bias or a scale, as it seems"))
        else:
            wanted.append(name)
    return wanted, skips


def _ended(done: Shrunk, name: str, made: dict[str, np.ndarray], skips: list[Skip], why: str = "") -> Shrunk:
    edits: list[Edit] = []
    for weight, array in made.items():
        zeros = array.size - int(np.count_nonzero(array))
        edits.append(SetWeight(weight, array, f"{zeros / max(array.size, 1):.1%} zeros"))
    findings = [Finding(why, "", "warning")] if why and edits else []
    if not edits:
        findings.append(Finding("nothing was changed", "; ".join(sorted({s.why for s in skips})), "warning"))
    plan = Plan(name, tuple(edits), tuple(skips), tuple(findings))
    return replace(done, tensors=done.tensors | made, plans=(*done.plans, plan))


def _zero(done: Shrunk, step: Prune) -> Shrunk:
    """Single entries by magnitude."""
    from recast.compression.prune.magnitude import Magnitude

    options = step.method()
    if not isinstance(options, Magnitude):
        raise BadRecipe("only magnitude prunes arrays")
    wanted, skips = _matrices(done)
    wanted = [n for n in wanted if n not in options.skip]
    arrays = [done.tensors[n] for n in wanted]
    masks = options.masks([a.astype(np.float64) for a in arrays], [a.ndim - 1 for a in arrays])
    made = {
        n: np.where(mask, a.dtype.type(0), a) for n, a, mask in zip(wanted, arrays, masks, strict=True) if mask.any()
    }
    return _ended(done, "magnitude", made, skips)


def _cut(done: Shrunk, step: Prune) -> Shrunk:
    """Whole rows and columns."""
    _masks.check_amount(step.amount, step.threshold)
    wanted, skips = _matrices(done)
    made, kept = {}, dict(done.kept or {})
    for name in wanted:
        array = done.tensors[name]
        if array.ndim < 2:
            skips.append(Skip(name, "one axis: no rows and columns"))
            continue
        stay = [_alive(array, axis, step) for axis in (0, 1)]
        if any(len(s) == 0 for s in stay):
            skips.append(Skip(name, "every row is below the threshold: nothing would be left"))
            continue
        if all(len(s) == n for s, n in zip(stay, array.shape, strict=False)):
            skips.append(Skip(name, "no row or column is dead"))
            continue
        made[name] = np.ascontiguousarray(array[np.ix_(*stay)])
        kept[name] = _told(array.shape, stay, kept.get(name))
    ended = _ended(done, "rows and columns", made, skips, _ALONE if len(done.tensors) > 1 else "")
    return replace(ended, kept=kept or done.kept)


def _alive(array: np.ndarray, axis: int, step: Prune) -> np.ndarray:
    """Indices along an axis that stay."""
    size = np.abs(np.moveaxis(array.astype(np.float64), axis, 0)).reshape(array.shape[axis], -1)
    if step.threshold is not None:
        return np.flatnonzero(size.max(axis=1) >= step.threshold)
    norms = np.sqrt(np.square(size).sum(axis=1))
    gone = min(round((step.amount or 0) * len(norms)), len(norms) - 1)
    return np.flatnonzero(~_masks.smallest(norms, gone))


def _told(shape: tuple[int, ...], stay: list[np.ndarray], before: dict[str, Any] | None) -> dict[str, Any]:
    """The indices that are kept, in terms of the array as it was at first."""
    first = before["kept"] if before else [list(range(shape[0])), list(range(shape[1]))]
    kept = [[axis[i] for i in index.tolist()] for axis, index in zip(first, stay, strict=True)]
    return {"shape": before["shape"] if before else list(shape), "kept": kept}


def _store(done: Shrunk, kind: str) -> Shrunk:
    """Fewer bits: ``NAME`` as int8 with ``NAME.scale`` (one a row), or half precision."""
    wanted, skips = _matrices(done)
    made: dict[str, np.ndarray] = {}
    for name in wanted:
        array = done.tensors[name]
        if kind in _HALVES:
            with np.errstate(over="ignore"):  # told as a skip
                made[name] = array.astype(np.float32).astype(_HALVES[kind])
            if not np.isfinite(made[name].astype(np.float32)).all():
                del made[name]
                skips.append(Skip(name, f"it does not fit {kind}"))
            continue
        if f"{name}.scale" in done.tensors:
            skips.append(Skip(name, f"there is a tensor '{name}.scale' already"))
            continue
        rows = array.astype(np.float64).reshape(array.shape[0] if array.ndim > 1 else 1, -1)
        most = np.abs(rows).max(axis=1)
        scale = np.where(most > 0, most / 127, 1.0).astype(np.float32)
        scale = np.where(scale > 0, scale, np.float32(1))  # a row of denormals becomes zeros
        made[name] = (
            np.rint(rows / scale[:, None].astype(np.float64)).clip(-127, 127).astype(np.int8).reshape(array.shape)
        )
        made[f"{name}.scale"] = scale
    return _ended(done, kind, made, skips)

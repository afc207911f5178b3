"""Dependency groups: with what the readers take from a unit set to zero, cutting the unit changes nothing."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from recast.compression._method import Plan
from recast.compression.apply import apply
from recast.compression.edits import SetWeight
from recast.compression.groups import Groups, find
from recast.graph.view import dims
from recast.verification.local import GraphRunner

from .group_nets import NETS

SIZES = {"batch": 3, "length": 7}
NONE = {"": 0}


def zeroed(model: ir.Model, groups: Groups, gone: set[int]) -> ir.Model:
    """The model with every reader's entries of these units at zero."""
    arrays: dict[str, np.ndarray] = {}
    for place in groups.places:
        if place.read:
            name = place.weight.name or ""
            assert place.weight.const_value is not None
            array = arrays.setdefault(name, place.weight.const_value.numpy().copy())
            np.moveaxis(array, place.axis, 0)[np.isin(place.units, list(gone))] = 0
    return apply(model, Plan("zero", tuple(SetWeight(n, a) for n, a in arrays.items())))


def some(groups: Groups, rng: np.random.Generator, most: float = 1.0) -> set[int]:
    """About half of the units of every group, at most that share; at least one of each stays."""
    gone: set[int] = set()
    for group in groups.groups:
        count = int(rng.integers(1, max(2, int(most * len(group.units)))))
        gone |= set(rng.choice(group.units, count, replace=False).tolist())
    return gone


def feeds(model: ir.Model, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One random input."""
    made = {}
    for value in model.graph.inputs:
        shape = [SIZES[str(d)] if not isinstance(d, int) else d for d in dims(value)]
        made[value.name or ""] = (3 * rng.standard_normal(shape)).astype(np.float32)
    return made


def outputs(model: ir.Model, given: dict[str, np.ndarray]) -> list[np.ndarray]:
    runner = GraphRunner(model, optimise=False)
    try:
        return list(runner.run(given).values())
    finally:
        runner.close()


def size(model: ir.Model) -> int:
    return sum(v.const_value.size for v in model.graph.initializers.values() if v.const_value is not None)


@pytest.mark.parametrize("turn", range(3))
@pytest.mark.parametrize("name", NETS)
def test_cut_equals_zero(name: str, turn: int, rng: np.random.Generator) -> None:
    model = NETS[name](rng)
    groups = find(model)
    assert groups.groups, "nothing can be cut"
    gone = some(groups, rng)
    small = apply(model, Plan("cut", tuple(groups.edits(gone))))
    given = feeds(model, rng)
    assert size(small) < size(model)
    for wanted, found in zip(outputs(zeroed(model, groups, gone), given), outputs(small, given), strict=True):
        assert wanted.shape == found.shape
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5 * float(np.abs(wanted).max()))


UNITS = {
    "mlp": {23, 19},
    "residual": {11, 7},
    "depthwise": {7, 11},
    "attention": {3, 23},
    "attention_fused": {3, 23},
    "attention_of_any_length": {3, 23},
    "recurrent": {13, 7},
    "flatten_dense": {7, 17},
    "channels_last": {7, 11},
    "squeeze_excite": {13, 7, 11},
    "padded_shortcut": {7, 5, 6},
    "embedding": {11, 13},
}


@pytest.mark.parametrize("name", UNITS)
def test_the_groups_are_those_that_a_person_would_name(name: str, rng: np.random.Generator) -> None:
    found = find(NETS[name](rng)).groups
    assert {len(g.units) for g in found} == UNITS[name]


def test_inputs_outputs_and_normalised_axes_stay(rng: np.random.Generator) -> None:
    model = NETS["attention"](rng)
    groups = find(model)
    for value in (*model.graph.inputs, *model.graph.outputs):
        for axis in range(len(dims(value))):
            assert (groups.units_of(value, axis) == -1).all()


def test_the_oracle_can_fail(rng: np.random.Generator) -> None:
    """Cutting other units than were set to zero is seen."""
    model = NETS["residual"](rng)
    groups = find(model)
    group = groups.groups[0]
    first, second = ({int(u)} for u in group.units[:2])
    small = apply(model, Plan("cut", tuple(groups.edits(second))))
    given = feeds(model, rng)
    (wanted,), (found,) = outputs(zeroed(model, groups, first), given), outputs(small, given)
    assert np.abs(found - wanted).max() > 1e-3

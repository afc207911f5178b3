"""Feeds: kinds, determinism, sizes, bounds."""

from __future__ import annotations

import checker_graphs
import numpy as np
import pytest

from recast._util.child import TensorSpec
from recast.verification.bounds import integer_bounds
from recast.verification.feeds import FeedPlan, index_code, make_feeds


def test_eight_kinds_none_constant_and_reproducible() -> None:
    plan = FeedPlan([TensorSpec("x", "float32", ("batch", 5, 7))], seed=3)
    feeds, again = make_feeds(plan), make_feeds(plan)
    assert len({f.name.split(" ")[0] for f in feeds}) >= 8
    for one, two in zip(feeds, again, strict=True):
        np.testing.assert_array_equal(one.arrays["x"], two.arrays["x"])
        assert np.ptp(one.arrays["x"]) > 0
    assert {f.arrays["x"].shape[0] for f in feeds} == {1, 3, 8}
    other = make_feeds(FeedPlan(plan.inputs, seed=4))
    assert not np.array_equal(other[0].arrays["x"], feeds[0].arrays["x"])


@pytest.mark.parametrize("shape", [(5, 5), (3, 7, 7), (2, 3, 3, 3)])
def test_index_code_has_no_symmetry(shape: tuple[int, ...]) -> None:
    code = index_code(shape)
    assert len(np.unique(code.round(9))) == code.size
    for axis in range(code.ndim):
        assert not np.allclose(code, np.flip(code, axis))
    assert not np.allclose(code, code.swapaxes(-1, -2))


def test_ids_stay_inside_the_vocabulary_and_reach_its_ends(rng: np.random.Generator) -> None:
    model = checker_graphs.embedding(rng)
    bounds = integer_bounds(model.graph)
    assert bounds == {"ids": (0, 52)}
    feeds = make_feeds(FeedPlan([TensorSpec("ids", "int64", ("batch", 7))], bounds))
    values = np.concatenate([f.arrays["ids"].reshape(-1) for f in feeds])
    assert values.min() == 0
    assert values.max() == 52


def test_int8_covers_its_range() -> None:
    feeds = make_feeds(FeedPlan([TensorSpec("x", "int8", (1, 11, 13))]))
    values = np.concatenate([f.arrays["x"].reshape(-1) for f in feeds])
    assert len(np.unique(values)) > 230
    assert (values.min(), values.max()) == (-128, 127)


def test_real_samples_and_fixed_sizes(rng: np.random.Generator) -> None:
    data = rng.standard_normal((3, 5))
    plan = FeedPlan([TensorSpec("x", "float32", ("batch", 5))], data={"x": data}, sizes={"batch": 1})
    feeds = make_feeds(plan)
    samples = [f for f in feeds if f.name.startswith("sample")]
    assert len(samples) == 3
    np.testing.assert_array_equal(samples[2].arrays["x"], data[2:3].astype(np.float32))
    assert {f.arrays["x"].shape[0] for f in feeds} == {1}


def test_dynamic_axes_get_three_sizes() -> None:
    feeds = make_feeds(FeedPlan([TensorSpec("x", "float32", ("batch", "steps", 3))]))
    assert {f.arrays["x"].shape[1] for f in feeds} == {1, 7, 13}

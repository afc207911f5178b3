"""``--data``: what is read, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recast._util.child import TensorSpec
from recast.errors import BadModel, BadRecipe, NoKernel, RuntimeRefused
from recast.measure.data import explained, generated, load

IMAGE = (TensorSpec("image", "float32", ("batch", 5, 7, 3)),)
TWO = (TensorSpec("a", "float32", ("n", 3)), TensorSpec("b", "int64", ("n", 2)))


def test_one_array_may_have_any_name(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.standard_normal((11, 5, 7, 3)).astype(np.float32)
    np.savez(tmp_path / "d.npz", pixels=x, y=np.arange(11), name=np.array(["text"] * 11))
    found = load(tmp_path / "d.npz", IMAGE)
    assert np.array_equal(found.feeds["image"], x)
    assert found.labels is not None
    assert found.labels.tolist() == list(range(11))
    np.save(tmp_path / "d.npy", x)
    assert load(tmp_path / "d.npy", IMAGE).labels is None


def test_arrays_are_named_as_the_inputs(tmp_path: Path, rng: np.random.Generator) -> None:
    np.savez(tmp_path / "d.npz", a=rng.random((4, 3)), b=rng.integers(0, 9, (4, 2)))
    assert set(load(tmp_path / "d.npz", TWO).feeds) == {"a", "b"}
    np.savez(tmp_path / "bad.npz", a=rng.random((4, 3)), c=rng.integers(0, 9, (4, 2)))
    with pytest.raises(BadModel, match="no samples for b"):
        load(tmp_path / "bad.npz", TWO)
    np.savez(tmp_path / "short.npz", a=rng.random((4, 3)), b=rng.integers(0, 9, (3, 2)))
    with pytest.raises(BadModel, match="different numbers"):
        load(tmp_path / "short.npz", TWO)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((4, 7, 5, 3), np.float32))
    with pytest.raises(BadModel, match="samples of shape"):
        load(tmp_path / "d.npz", IMAGE)
    (tmp_path / "d.txt").write_text("1 2 3")
    with pytest.raises(BadRecipe):
        load(tmp_path / "d.txt", IMAGE)
    np.savez(tmp_path / "pickle.npz", x=np.array([{"a": 1}], object))
    with pytest.raises(BadModel, match="cannot be read"):
        load(tmp_path / "pickle.npz", IMAGE)


def test_a_folder_of_images(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for number, name in enumerate(["cat", "dog"]):
        (tmp_path / name).mkdir()
        for copy in range(number + 1):
            image.new("RGB", (7, 5), (10 * number, 20, 30)).save(tmp_path / name / f"{copy}.png")
    (tmp_path / "recast.toml").write_text("scale = 0.1\nmean = [1.0, 2.0, 3.0]\nstd = 2.0\n")
    found = load(tmp_path, IMAGE)
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 1]
    assert found.names == ("cat", "dog")
    np.testing.assert_allclose(found.feeds["image"][2, 3, 4], [0.0, 0.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(found.feeds["image"][0, 0, 0], [-0.5, 0.0, 0.0], atol=1e-6)
    first = load(tmp_path, (TensorSpec("image", "float32", (1, 3, 5, 7)),)).feeds["image"]
    assert np.array_equal(first.transpose(0, 2, 3, 1), found.feeds["image"])


@pytest.mark.parametrize("fixed", [False, True])
def test_batches_cover_every_sample_once(fixed: bool) -> None:
    spec = TensorSpec("a", "float32", (4 if fixed else "n", 3))
    samples = generated([spec], 11)
    got = np.concatenate([f["a"] for f in samples.batches([spec], 5)])
    assert np.array_equal(got[:11], samples.feeds["a"])
    assert len(got) == (12 if fixed else 11)


@pytest.mark.parametrize("given", [False, True])
def test_samples_along_other_axes_are_refused_by_name(given: bool, tmp_path: Path) -> None:
    """A recurrent net's state has its batch along axis 1, its sampling rate has no axis."""
    sound = TensorSpec("sound", "float32", ("batch", 7))
    specs = (sound, TensorSpec("state", "float32", (2, "batch", 13)), TensorSpec("rate", "int64", ()))
    np.savez(tmp_path / "d.npz", sound=np.zeros((2, 7)), state=np.zeros((2, 2, 13)), rate=np.zeros(2))
    with pytest.raises(BadModel) as caught:
        load(tmp_path / "d.npz", specs) if given else generated(specs, 5)
    assert "'state' [2, batch, 13] has them along axis 1; 'rate' has no axis" in caught.value.what
    assert "sound [batch, 7]" in caught.value.where
    assert "first axis" in caught.value.fix
    assert generated((sound, TensorSpec("other", "float32", ("batch", "batch"))), 5).count == 5


def test_sizes_that_nobody_gave_are_named_where_a_runtime_refuses_them() -> None:
    specs = (TensorSpec("sound", "float32", ("batch", "time")), TensorSpec("table", "float32", ("batch", 7)))
    samples = generated(specs, 5)
    with (
        pytest.raises(RuntimeRefused, match="unknown dimensions are 1: no such length") as caught,
        explained(samples, specs),
    ):
        raise RuntimeRefused("no such length")
    assert caught.value.where == "sound [batch, time]"
    assert "--input sound=" in caught.value.fix
    for kind, some in ((NoKernel, specs), (RuntimeRefused, specs[1:])):
        with pytest.raises(kind) as caught, explained(samples, some):
            raise kind("nothing to do with sizes")
        assert caught.value.what == "nothing to do with sizes"


def test_take_is_spread_over_the_file() -> None:
    samples = generated([TensorSpec("a", "float32", ("n", 3))], 101)
    assert samples.take(5).count == 5
    assert np.array_equal(samples.take(5).feeds["a"][-1], samples.feeds["a"][-1])

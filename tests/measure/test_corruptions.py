"""Corruptions against SciPy, Pillow's own JPEG, and hand-made examples; none touches the range or the shape."""

from __future__ import annotations

import io

import numpy as np
import pytest

from recast.measure.corruptions import Range, channel_axis, corrupt, names

PIXELS = Range(0.0, 255.0)


def smooth(rng: np.random.Generator, channels: int = 3) -> np.ndarray:
    """Two images of 24 × 40 with structure, 0–255, channels-last."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(rng.standard_normal((2, 24, 40, channels)), (0, 2, 2, 0))
    scaled = (noise - noise.min()) / (noise.max() - noise.min())
    return np.rint(scaled * 200 + 20).astype(np.float32)


def test_images_are_recognised_by_their_axes() -> None:
    assert channel_axis((5, 32, 30, 3)) == 3
    assert channel_axis((5, 1, 28, 29)) == 1
    assert channel_axis((5, 49, 10, 1)) == 3
    assert channel_axis((5, 640)) is None
    assert channel_axis((5, 7, 3, 3)) is None
    assert names((5, 640)) == ["noise", "brightness", "contrast"]


@pytest.mark.parametrize("name", names((2, 24, 40, 3)))
def test_shape_range_severity_and_layout(name: str, rng: np.random.Generator) -> None:
    x = smooth(rng)
    far = []
    for severity in (1, 5):
        last = corrupt(name, x, severity, PIXELS, np.random.default_rng(7))
        assert last.shape == x.shape
        assert last.dtype == np.float32
        assert last.min() >= 0
        assert last.max() <= 255
        far.append(np.abs(last - x).mean())
        if name != "noise":
            first = corrupt(name, x.transpose(0, 3, 1, 2), severity, PIXELS, np.random.default_rng(7))
            np.testing.assert_allclose(first.transpose(0, 2, 3, 1), last, atol=1e-3)
    assert 0 < far[0] < far[1]
    small = corrupt(name, x / 255, 3, Range(0, 1), np.random.default_rng(7))
    np.testing.assert_allclose(small * 255, corrupt(name, x, 3, PIXELS, np.random.default_rng(7)), atol=1e-2)


def test_blur_is_scipys(rng: np.random.Generator) -> None:
    from scipy.ndimage import gaussian_filter

    x = smooth(rng)
    expected = gaussian_filter(x, (0, 1, 1, 0), mode="nearest", truncate=4)
    np.testing.assert_allclose(corrupt("blur", x, 5, PIXELS, rng), expected, atol=1e-2)


def test_jpeg_is_pillows_on_grey_images(rng: np.random.Generator) -> None:
    image = pytest.importorskip("PIL.Image")
    x = smooth(rng, 1)
    for severity, quality in ((1, 80), (5, 40)):
        found = corrupt("JPEG-like", x, severity, PIXELS, rng)[0, ..., 0]
        file = io.BytesIO()
        image.fromarray(x[0, ..., 0].astype(np.uint8)).save(file, "JPEG", quality=quality)
        theirs = np.asarray(image.open(file), np.float32)
        assert np.abs(theirs - x[0, ..., 0]).max() > 2, "the example is too easy"
        assert np.abs(found - theirs).max() <= 2
        assert np.abs(found - theirs).mean() < 0.6


def test_jpeg_keeps_colour(rng: np.random.Generator) -> None:
    x = np.broadcast_to(np.array([200.0, 40, 90], np.float32), (1, 16, 16, 3))
    assert np.abs(corrupt("JPEG-like", x, 1, PIXELS, rng) - x).max() < 8


def test_plain_ones_by_hand(rng: np.random.Generator) -> None:
    x = np.full((1, 200, 211), 100.0, np.float32)
    x[0, 0, :2] = (0, 200)
    assert corrupt("brightness", x, 5, PIXELS, rng)[0, 1, 1] == pytest.approx(100 + 0.3 * 255, abs=1e-3)
    assert corrupt("contrast", x, 5, PIXELS, rng)[0, 0, 1] == pytest.approx(115, abs=0.1)
    noise = corrupt("noise", x, 3, PIXELS, rng)[0, 1:] - 100
    assert noise.std() == pytest.approx(0.08 * 255, rel=0.02)
    assert abs(noise.mean()) < 0.5


def test_shift_and_pixelate_by_hand(rng: np.random.Generator) -> None:
    x = np.arange(2 * 12 * 12, dtype=np.float32).reshape(1, 24, 12, 1) % 200
    moved = corrupt("shift", x, 3, PIXELS, rng)  # 9 % of 24 is 2, of 12 is 1
    np.testing.assert_allclose(moved[0, 2:, 1:], x[0, :-2, :-1], atol=1e-3)
    np.testing.assert_allclose(moved[0, 0, 1:], x[0, 0, :-1], atol=1e-3)
    flat = np.full((1, 20, 20, 3), 37.0, np.float32)
    np.testing.assert_allclose(corrupt("pixelate", flat, 5, PIXELS, rng), flat, atol=1e-3)
    ramp = np.repeat(np.arange(20, dtype=np.float32)[None, :, None, None] * 10, 20, axis=2)
    found = corrupt("pixelate", ramp, 4, PIXELS, rng)[0, :, 0, 0]  # 15 intervals of 4/3 pixels
    first = (0 * 1 + 10 / 3) / (4 / 3)
    assert found[0] == pytest.approx(first, abs=1e-3)
    assert len(np.unique(found.round(3))) == 15

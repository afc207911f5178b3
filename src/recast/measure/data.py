"""``--data``: real samples and their labels, from ``.npz``, ``.npy`` or a folder of images.

* ``.npz``: arrays named as the model's inputs (a single array may have any name); ``y``, ``label`` or ``labels`` are
  the labels; arrays of text are left out. ``.npy``: one array, no labels. The first axis counts samples.
* A folder of images: one sub-folder a class; classes are numbered in the order of their names. Every image is brought
  to the size of the model's input (bilinear) and to RGB or grey by its number of channels. Pixels stay 0–255 unless
  ``recast.toml`` in the folder says ``scale``, ``mean``, ``std``: ``x = (pixel * scale - mean) / std``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recast._util.child import TensorSpec
from recast._util.optional import need
from recast.errors import BadModel, BadRecipe, NoKernel, RuntimeRefused

LABELS = ("y", "label", "labels")
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".webp")
_KEYS = {"scale", "mean", "std"}


@dataclass(frozen=True)
class Samples:
    """Samples of one model.

    Attributes:
        feeds: arrays of shape (count, …) by the model's input names.
        labels: integers of shape (count,), or whatever the file holds; None without labels. Of shape (m,) with count a
            multiple of m: consecutive samples belong to one label.
        real: False for generated inputs.
    """

    feeds: Mapping[str, np.ndarray]
    labels: np.ndarray | None = None
    real: bool = True
    names: tuple[str, ...] = field(default=(), compare=False)  # of the classes

    @property
    def count(self) -> int:
        """Number of samples."""
        return min((len(a) for a in self.feeds.values()), default=0)

    def take(self, count: int) -> Samples:
        """At most ``count`` samples, evenly spaced (files are often sorted by class); all samples of a label."""
        if count >= self.count:
            return self
        wanted = max(count // self.together, 1)
        return self.pick(np.linspace(0, self.count // self.together - 1, wanted).round().astype(np.int64))

    @property
    def together(self) -> int:
        """Samples of one label."""
        return 1 if self.labels is None else self.count // max(len(self.labels), 1)

    def pick(self, index: np.ndarray | slice) -> Samples:
        """The labels at these positions, with their samples."""
        size = self.together
        places = np.arange(self.count // size)[index]
        rows = (places[:, None] * size + np.arange(size)).reshape(-1)
        feeds = {n: a[rows] for n, a in self.feeds.items()}
        return Samples(feeds, None if self.labels is None else self.labels[places], self.real, self.names)

    def batches(self, inputs: Sequence[TensorSpec], size: int = 32) -> Iterator[dict[str, np.ndarray]]:
        """The samples as feeds of at most ``size`` each, cast to the inputs' types.

        An input whose first dimension is a number gets exactly that many rows a feed; the last feed is filled up with
        its own last sample (the caller cuts the outputs to ``count``).
        """
        fixed = {int(s.shape[0]) for s in inputs if s.shape and isinstance(s.shape[0], int)}
        if len(fixed) > 1:
            raise BadModel("the inputs have different fixed batch sizes", str(sorted(fixed)), "use --batch dynamic")
        full = bool(fixed)
        step = fixed.pop() if full else size
        for start in range(0, self.count, step):
            stop = start + step if full else min(start + step, self.count)
            rows = np.minimum(np.arange(start, stop), self.count - 1)
            yield {s.name: self._rows(s, rows) for s in inputs}

    def _rows(self, spec: TensorSpec, rows: np.ndarray) -> np.ndarray:
        array = self.feeds[spec.name][rows]
        wanted = np.dtype(spec.dtype)
        if wanted.kind in "iu" and array.dtype.kind == "f" and not np.array_equal(array, np.rint(array)):
            raise BadModel("the samples are no integers, the input wants them", f"input {spec.name}", "scale the data")
        return np.ascontiguousarray(array.astype(wanted, copy=False))


def _batch_first(inputs: Sequence[TensorSpec]) -> None:
    """Refuse inputs that samples cannot be stacked in: each must have them along its first axis.

    Raises:
        BadModel: all inputs whose batch is another axis, or that have none.
    """
    batch = inputs[0].shape[0] if inputs and inputs[0].shape else None
    wrong = []
    for spec in inputs:
        if not spec.shape:
            wrong.append(f"'{spec.name}' has no axis")
        elif isinstance(batch, str) and spec.shape[0] != batch and batch in spec.shape:
            wrong.append(f"'{spec.name}' {_told(spec)} has them along axis {spec.shape.index(batch)}")
    if wrong:
        raise BadModel(
            f"samples do not lie along the first axis of every input: {'; '.join(wrong)}",
            ", ".join(f"{s.name} {_told(s)}" for s in inputs),
            "export the model with the batch as the first axis of all inputs, and what is a scalar as a constant",
        )


def _told(spec: TensorSpec) -> str:
    return f"[{', '.join(map(str, spec.shape))}]"


@contextmanager
def explained(samples: Samples, inputs: Sequence[TensorSpec]) -> Iterator[None]:
    """Where a runtime refuses generated samples inside, say that it may be for dimensions that nobody gave.

    Raises:
        RuntimeRefused: with the inputs whose dimensions were taken for 1.
    """
    unknown = [s for s in inputs if any(isinstance(d, str) for d in s.shape[1:])]
    try:
        yield
    except NoKernel:
        raise
    except RuntimeRefused as error:
        if samples.real or not unknown:
            raise
        raise RuntimeRefused(
            f"the runtime refused generated samples, whose unknown dimensions are 1: {error.what}",
            ", ".join(f"{s.name} {_told(s)}" for s in unknown),
            f"give the sizes (--input {unknown[0].name}=…), or real samples (--data)",
        ) from error


def load(path: Path, inputs: Sequence[TensorSpec]) -> Samples:
    """Read the samples of a model with these inputs.

    Raises:
        BadModel: the file holds no samples, or they do not fit the inputs, or these have no common first axis.
        BadRecipe: the kind of file is not known.
    """
    _batch_first(inputs)
    if path.is_dir():
        return _images(path, inputs)
    if path.suffix not in (".npz", ".npy"):
        raise BadRecipe(f"data of type '{path.suffix}'", str(path), "give .npz, .npy or a folder of images")
    try:
        held: Any = np.load(path, allow_pickle=False, mmap_mode="r" if path.suffix == ".npy" else None)
        arrays = {"": held} if isinstance(held, np.ndarray) else {n: held[n] for n in held.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise BadModel(f"the data cannot be read: {error}", str(path), "store plain arrays (no pickles)") from error
    labels = next((arrays.pop(n) for n in LABELS if n in arrays and n not in {s.name for s in inputs}), None)
    arrays = {n: a for n, a in arrays.items() if a.dtype.kind in "fiub"}
    if not arrays:
        raise BadModel("no samples in the data file", str(path), "store arrays named as the model's inputs")
    if len(inputs) == 1 and len(arrays) == 1:
        arrays = {inputs[0].name: next(iter(arrays.values()))}
    missing = [s.name for s in inputs if s.name not in arrays]
    if missing:
        raise BadModel(f"no samples for {', '.join(missing)}", f"{path} holds {', '.join(arrays)}", "rename the arrays")
    feeds = {s.name: _fitted(arrays[s.name], s, str(path)) for s in inputs}
    counts = {n: len(a) for n, a in feeds.items()}
    several = labels is not None and (not len(labels) or next(iter(counts.values())) % len(labels) != 0)
    if len(set(counts.values())) > 1 or 0 in counts.values() or several:
        told = counts | ({} if labels is None else {"labels": len(labels)})
        raise BadModel(f"different numbers of samples: {told}", str(path), "give every array the same first axis")
    return Samples(feeds, labels)


def _fitted(array: np.ndarray, spec: TensorSpec, where: str) -> np.ndarray:
    """The array with one axis a dimension of the input (a single missing axis of size 1 is added)."""
    if array.ndim == len(spec.shape) - 1 and spec.shape and spec.shape[-1] == 1:
        array = array[..., None]
    fits = array.ndim == len(spec.shape) and all(
        isinstance(d, str) or d == n for d, n in zip(spec.shape[1:], array.shape[1:], strict=True)
    )
    if not fits or array.ndim == 0:
        raise BadModel(
            f"samples of shape {list(array.shape)} for the input '{spec.name}' of shape {list(spec.shape)}",
            where,
            "the first axis counts samples, the others are the input's",
        )
    return array


def _images(folder: Path, inputs: Sequence[TensorSpec]) -> Samples:
    if len(inputs) != 1 or len(inputs[0].shape) != 4:
        raise BadModel("a folder of images feeds models with one image input only", str(folder), "give an .npz")
    shape = inputs[0].shape
    last = shape[-1] in (1, 3)
    height, width, channels = (shape[1], shape[2], shape[3]) if last else (shape[2], shape[3], shape[1])
    if not isinstance(height, int) or not isinstance(width, int) or channels not in (1, 3):
        raise BadModel("the input's size or channels are not known", str(shape), "fix them with --input, or give .npz")
    classes = sorted(p.name for p in folder.iterdir() if p.is_dir())
    files = [(f, i) for i, c in enumerate(classes) for f in sorted((folder / c).iterdir()) if f.suffix in _IMAGES]
    if not files:
        raise BadModel("no images", str(folder), "make one sub-folder a class with .png or .jpg files")
    scale, mean, std = _scaling(folder / "recast.toml")
    image = need("PIL.Image", "images")
    pixels = np.empty((len(files), height, width, channels), np.float32)
    for row, (file, _) in enumerate(files):
        try:
            with image.open(file) as opened:
                made = opened.convert("L" if channels == 1 else "RGB").resize((width, height), image.BILINEAR)
                pixels[row] = np.asarray(made, np.float32).reshape(height, width, channels)
        except OSError as error:
            raise BadModel(f"not an image: {error}", str(file), "remove it") from error
    x = (pixels * scale - mean) / std
    labels = np.array([c for _, c in files], np.int64)
    feeds = {inputs[0].name: x if last else np.ascontiguousarray(x.transpose(0, 3, 1, 2))}
    return Samples(feeds, labels, names=tuple(classes))


def _scaling(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    told: dict[str, Any] = {}
    if path.exists():
        try:
            told = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadRecipe(f"not TOML: {error}", str(path), "write scale, mean and std") from error
        if unknown := told.keys() - _KEYS:
            raise BadRecipe(f"unknown keys {sorted(unknown)}", str(path), f"known: {', '.join(sorted(_KEYS))}")
    values = (np.asarray(told.get(k, v), np.float32) for k, v in (("scale", 1.0), ("mean", 0.0), ("std", 1.0)))
    scale, mean, std = values
    return scale, mean, std


def generated(inputs: Sequence[TensorSpec], count: int, seed: int = 0) -> Samples:
    """Random inputs where there are no data: half standard normal, half uniform in 0–1; integers 0–1.

    Unknown dimensions but the first are 1. They say little about accuracy: whoever uses them must tell the user.

    Raises:
        BadModel: the inputs have no common first axis.
    """
    _batch_first(inputs)
    rng = np.random.default_rng(seed)
    feeds = {}
    for spec in inputs:
        shape = (count, *(d if isinstance(d, int) else 1 for d in spec.shape[1:]))
        dtype = np.dtype(spec.dtype)
        if dtype.kind == "f":
            half = rng.standard_normal(shape)
            half[count // 2 :] = rng.random(half[count // 2 :].shape)
            feeds[spec.name] = half.astype(dtype)
        else:
            feeds[spec.name] = rng.integers(0, 2, shape).astype(dtype)
    return Samples(feeds, real=False)

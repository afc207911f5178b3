"""What a network sees on its way, as a further target of distillation: where it looks, or its middle layer itself.

Zagoruyko and Komodakis, Paying More Attention to Attention (ICLR 2017, section 3.1): the map of a layer is the sum of
its squared activations over the channels, so teacher and student may have other widths. Compared are the last values
of each image size that both have: the ends of the stages.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from recast.errors import BadRecipe
from recast.graph.view import dims
from recast.measure.coding import as_input
from recast.measure.data import Samples

if TYPE_CHECKING:
    import onnx_ir as ir

    from recast.measure.subject import Subject

BATCH = 32
WEIGHT = 1000.0  # of the maps' mean squared difference, as in the authors' experiments
LARGEST = 1 << 30  # bytes of hints


def stages(model: ir.Model) -> dict[tuple[int, int], ir.Value]:
    """The last value (n, c, h, w) of each image size of more than one place."""
    found = {}
    for node in model.graph:
        value = node.outputs[0]
        if value.shape is None or len(value.shape) != 4:
            continue
        _, channels, high, wide = dims(value)
        if isinstance(channels, int) and isinstance(high, int) and isinstance(wide, int) and high * wide > 1:
            found[high, wide] = value
    return found


def watch(student: ir.Model, teacher: Subject, samples: Samples) -> list[np.ndarray]:
    """Make the ends of the student's stages outputs, in order; the teacher's maps for them, (n, h·w) each, float32.

    Raises:
        BadRecipe: teacher and student have no image size in common, or the teacher's graph is not known.
    """
    graph, pairs = _pairs(student, teacher)
    _show(student, [mine for mine, _ in pairs])
    return _seen(graph, [theirs for _, theirs in pairs], samples, True)


def hint(student: ir.Model, teacher: Subject, samples: Samples) -> list[np.ndarray]:
    """Make the end of the student's middle stage an output; the teacher's activations there, (n, c, h, w), float32.

    Romero et al., FitNets (ICLR 2015, section 2.2): the middle layer is guided, through a regressor of 1×1.

    Raises:
        BadRecipe: as ``watch``; or the activations of so many samples would not fit.
    """
    graph, pairs = _pairs(student, teacher)
    mine, theirs = pairs[len(pairs) // 2]
    bytes_ = 4 * samples.count * math.prod(d for d in dims(theirs)[1:] if isinstance(d, int))
    if bytes_ > LARGEST:
        raise BadRecipe(
            f"the teacher's hints take {bytes_:,} bytes", teacher.name, "give fewer samples, or loss attention"
        )
    _show(student, [mine])
    return _seen(graph, [theirs], samples, False)


def _pairs(student: ir.Model, teacher: Subject) -> tuple[ir.Model, list[tuple[ir.Value, ir.Value]]]:
    """The teacher's graph, and (student's value, teacher's value) of each image size that both have, in order."""
    from recast.measure import trainable

    held = teacher.graph
    if held is None:
        raise BadRecipe("the teacher's graph is only known to its own code", teacher.name, "convert it, or loss kd")
    graph, mine = trainable.prepared(held), stages(student)
    theirs = stages(graph)
    common = [(value, theirs[size]) for size, value in mine.items() if size in theirs]
    if not common:
        raise BadRecipe("teacher and student have no image size in common to compare", teacher.name, "loss kd or dkd")
    return graph, common


def _show(student: ir.Model, values: list[ir.Value]) -> None:
    student.graph.outputs.extend(values)


def _seen(graph: ir.Model, values: list[ir.Value], samples: Samples, mapped: bool) -> list[np.ndarray]:
    """Values of all samples, or their maps."""
    from recast.measure.calibrate import Graph

    names = [v.name or "" for v in values]
    parts: list[list[np.ndarray]] = [[] for _ in names]
    with Graph(graph) as opened, opened.open(names) as runner:
        arrays = list(samples.feeds.values())
        by_name = {s.name for s in runner.inputs} == set(samples.feeds)
        pairs = [(s, samples.feeds[s.name] if by_name else a) for s, a in zip(runner.inputs, arrays, strict=True)]
        given = Samples({s.name: as_input(a, s, {}) for s, a in pairs})
        for feeds in given.batches(runner.inputs, BATCH):
            results = runner.run(feeds)
            for part, name in zip(parts, names, strict=True):
                value = results[name].astype(np.float32)
                part.append(np.square(value).sum(axis=1).reshape(len(value), -1) if mapped else value)
    return [np.concatenate(part)[: samples.count] for part in parts]

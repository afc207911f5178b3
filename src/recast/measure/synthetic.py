"""Inputs without data: made so that every BatchNormalization sees the statistics that it remembers.

Cai et al. 2020, "ZeroQ: A Novel Zero Shot Quantization Framework", eq. 4: starting from noise, gradient descent on the
inputs minimises ``Σ |μ̃ - μ|² + |σ̃ - σ|²`` over the layers (here each relative to the channel's own σ). The noise
starts at the offset and size that fit best, since inputs may be pixels of 0 to 255.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from recast.errors import BadRecipe
from recast.measure import differentiable
from recast.measure.accuracy import Task
from recast.measure.data import Samples
from recast.measure.subject import Subject

COUNT = 32
_STEPS = 100


def made(model: ir.Model, count: int = COUNT, seed: int = 0, steps: int = _STEPS) -> Samples:
    """Inputs for a model with BatchNormalization; ``real`` is False.

    Args:
        model: as it was read: nothing folded. Not changed.
        count: of samples.
        seed: of the noise.
        steps: of gradient descent.

    Raises:
        BadRecipe: there is no BatchNormalization, more than one input, or a fixed batch.
        MissingDependency: PyTorch is not installed.
    """
    value = model.graph.inputs[0]
    dims = list(value.shape or ())
    why = "" if any(n.op_type == "BatchNormalization" for n in model.graph) else "it has no BatchNormalization"
    if len(model.graph.inputs) != 1 or value.dtype != ir.DataType.FLOAT:
        why = "it does not have one input of floats"
    elif not dims or isinstance(dims[0], int):
        why = "its batch is fixed"
    if why:
        fix = "pass real samples with --data or --calibrate; a few dozen do"
        raise BadRecipe(f"inputs cannot be synthesised for this model: {why}", f"input {value.name}", fix)
    sizes = [d if isinstance(d, int) else 1 for d in dims[1:]]
    noise = np.random.default_rng(seed).standard_normal((count, *sizes)).astype(np.float32)
    subject = Subject("original", Path(), made=model)
    with differentiable.opened(subject, Task("values")) as network:
        return Samples({value.name or "": network.synthesise(noise, steps)}, real=False)

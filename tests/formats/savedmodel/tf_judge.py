"""Make SavedModels and frozen graphs with TensorFlow, and compare what Recast reads with what TensorFlow computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from recast.formats._format import ReadOptions
from recast.formats.savedmodel.read import read


@dataclass(frozen=True)
class Case:
    """One function of tensors.

    Attributes:
        function: takes TensorFlow tensors, gives one or several.
        shapes: of the inputs; ``None`` for a dynamic axis.
        dtypes: of the inputs; float32 where the list ends.
        low, high: of the random numbers.
        ops: operators that the graph must contain (so that a case tests what it says).
    """

    function: Callable[..., Any]
    shapes: Sequence[tuple[int | None, ...]]
    dtypes: Sequence[str] = ()
    low: float = -3.0
    high: float = 3.0
    ops: Sequence[str] = ()

    def dtype(self, place: int) -> str:
        """An input's type."""
        return self.dtypes[place] if place < len(self.dtypes) else "float32"

    def feeds(self, rng: np.random.Generator, open_size: int = 3) -> dict[str, np.ndarray]:
        """Random inputs; dynamic axes get ``open_size``."""
        found = {}
        for place, shape in enumerate(self.shapes):
            size = [open_size if d is None else d for d in shape]
            kind = np.dtype(self.dtype(place))
            if kind.kind == "b":
                array = rng.random(size) < 0.5
            elif kind.kind in "iu":
                array = rng.integers(int(max(self.low, 0 if kind.kind == "u" else self.low)), int(self.high) + 1, size)
            else:
                array = rng.uniform(self.low, self.high, size)
            found[f"x{place}"] = array.astype(kind)
        return found


def concrete(case: Case) -> Any:
    """The case as a TensorFlow function with named inputs."""
    import tensorflow as tf

    names = [f"x{i}" for i in range(len(case.shapes))]
    specs = [tf.TensorSpec(s, case.dtype(i), name=n) for i, (n, s) in enumerate(zip(names, case.shapes, strict=True))]

    def function(*given: Any) -> Any:
        made = case.function(*given)
        made = list(made) if isinstance(made, list | tuple) else [made]
        return {f"y{i}": tf.identity(v) for i, v in enumerate(made)}

    return tf.function(function, input_signature=specs, autograph=False).get_concrete_function()


def save(case: Case, folder: Path) -> Any:
    """Write a SavedModel; returns the TensorFlow function."""
    import tensorflow as tf

    module = tf.Module()
    made = concrete(case)
    module.held = list(made.variables)
    tf.saved_model.save(module, str(folder), signatures=made)
    return made


def freeze(case: Case, path: Path) -> Any:
    """Write a frozen graph; returns the TensorFlow function."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    made = concrete(case)
    path.write_bytes(convert_variables_to_constants_v2(made).graph.as_graph_def().SerializeToString())
    return made


def operators(made: Any) -> set[str]:
    """All operators of a TensorFlow function and its library."""
    graph = made.graph.as_graph_def()
    return {n.op for n in graph.node} | {n.op for f in graph.library.function for n in f.node_def}


def check(path: Path, made: Any, feeds: Mapping[str, np.ndarray], tolerance: float = 2e-5) -> ir.Model:
    """Read a file and compare all outputs with TensorFlow's."""
    import tensorflow as tf

    model = read(path, ReadOptions())
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    compare(session, made, feeds, tolerance, tf)
    return model


def compare(session: Any, made: Any, feeds: Mapping[str, np.ndarray], tolerance: float, tf: Any) -> None:
    """All outputs of ONNX Runtime and TensorFlow on the same feeds, in the order of their names."""
    wanted = made(**{n: tf.constant(a) for n, a in feeds.items()})
    taken = {i.name for i in session.get_inputs()}
    found = session.run(None, {n: a for n, a in feeds.items() if n in taken})
    assert len(found) == len(wanted)
    for place, result in enumerate(found):
        truth = wanted[f"y{place}"].numpy()
        assert result.shape == truth.shape
        assert result.dtype == truth.dtype
        if truth.dtype.kind in "f":
            np.testing.assert_allclose(result, truth, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(result, truth)

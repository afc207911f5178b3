"""The judge of TFLite files: the LiteRT interpreter. Runs in a child process (``_util/worker.py``)."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from recast._util.child import TensorSpec
from recast.errors import BadModel, BadShape, MissingDependency
from recast.formats.tflite.read_file import File, load
from recast.formats.tflite.real_weights import mixed, replaceable, with_real_weights

_FIX = "give one array for every input, of the type and shape that it says"


def preload() -> None:
    """Import LiteRT."""
    import ai_edge_litert.interpreter  # noqa: F401


class Session:
    """One model in LiteRT. Inputs and outputs are called as in its signature, else as its tensors.

    Args:
        path: the ``.tflite`` file.
        options: ``threads`` (default 1); ``all_tensors`` keeps intermediate results for ``tensors``;
            ``delegate`` (default true) lets LiteRT use XNNPACK; ``real_weights`` runs integer weights that meet
            floating-point activations as the real numbers they stand for (see ``real_weights``).
    """

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        self._file = load(Path(path))
        keep = bool(options.get("all_tensors", False))
        model = {"model_path": path} if not options.get("real_weights") else _with_real_weights(Path(path), self._file)
        self._interpreter = _interpreter(model, int(options.get("threads", 1)), keep, options.get("delegate", True))
        self._keep = keep
        # by tensor index: LiteRT's own list may be in another order
        graph = self._file.subgraphs[0]
        self._indices = {"inputs": graph.inputs, "outputs": graph.outputs}
        self._shapes: dict[int, tuple[int, ...]] = {}
        self.inputs = _specs(self._file, self._file.input_names, graph.inputs)
        self.outputs = _specs(self._file, self._file.output_names, graph.outputs)

    def run(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once from fresh states; inputs are resized to the feeds.

        Raises:
            BadShape: a feed is missing or does not fit.
        """
        self._feed(feeds)
        self._interpreter.invoke()
        return self._outputs()

    def tensors(
        self, feeds: dict[str, np.ndarray], names: list[str] | None = None
    ) -> tuple[dict[str, str], dict[str, np.ndarray]]:
        """Run once and return intermediate tensors by name (all where ``names`` is None).

        Returns:
            The reasons why tensors could not be had, and the arrays. Needs the option ``all_tensors``.
        """
        if not self._keep:
            raise BadModel("intermediate tensors were not kept", self._file.where, "open with all_tensors")
        self._feed(feeds)
        self._interpreter.invoke()
        found: dict[str, np.ndarray] = {}
        failed: dict[str, str] = {}
        for tensor in self._file.subgraphs[0].tensors:
            if names is not None and tensor.name not in names:
                continue
            name = tensor.name if tensor.name not in found else f"{tensor.name}#{tensor.index}"
            try:
                found[name] = np.array(self._interpreter.get_tensor(tensor.index))
            except ValueError as error:  # the runtime has no data for this tensor
                failed[name] = str(error)[:200]
        return failed, found

    def latency(
        self, feeds: dict[str, np.ndarray], repeats: int = 50, warmup: int = 5
    ) -> tuple[list[float], dict[str, np.ndarray]]:
        """Seconds of each of ``repeats`` runs after ``warmup`` ones."""
        self._feed(feeds)
        times = []
        for turn in range(warmup + repeats):
            start = time.perf_counter()
            self._interpreter.invoke()
            if turn >= warmup:
                times.append(time.perf_counter() - start)
        return times, {}

    def statistics(self, feeds: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Operators of the main graph by kind, tensors and constant bytes (the feeds are not used)."""
        graph = self._file.subgraphs[0]
        kinds = Counter(o.kind for o in graph.operators)
        constants = sum(t.data.nbytes for t in graph.tensors if t.data is not None)
        return {"operators": dict(kinds), "tensors": len(graph.tensors), "constant_bytes": constants}, {}

    def _feed(self, feeds: dict[str, np.ndarray]) -> None:
        missing = [s.name for s in self.inputs if s.name not in feeds]
        if missing:
            raise BadShape(f"no data for {', '.join(missing)}", self._file.where, _FIX)
        pairs = list(zip(self.inputs, self._indices["inputs"], strict=True))
        fresh = not pairs  # nothing to resize, yet memory is wanted
        for spec, index in pairs:
            array = feeds[spec.name]
            if array.dtype.name != spec.dtype:
                raise BadShape(f"'{spec.name}' is {array.dtype.name} instead of {spec.dtype}", self._file.where, _FIX)
            if self._shapes.get(index) != array.shape:
                self._interpreter.resize_tensor_input(index, list(array.shape))
                self._shapes[index], fresh = array.shape, True
        if fresh:
            self._interpreter.allocate_tensors()
        self._interpreter.reset_all_variables()
        for spec, index in pairs:
            self._interpreter.set_tensor(index, np.ascontiguousarray(feeds[spec.name]).reshape(feeds[spec.name].shape))

    def _outputs(self) -> dict[str, np.ndarray]:
        pairs = zip(self.outputs, self._indices["outputs"], strict=True)
        return {spec.name: self._output(spec, index) for spec, index in pairs}

    def _output(self, spec: TensorSpec, index: int) -> np.ndarray:
        """One result; the interpreter hands out no tensor without elements."""
        try:
            return np.array(self._interpreter.get_tensor(index))
        except ValueError:
            shapes = {d["index"]: d["shape"] for d in self._interpreter.get_output_details()}
            if 0 not in shapes[index]:
                raise
            return np.zeros(tuple(shapes[index]), spec.dtype)


def _with_real_weights(path: Path, file: File) -> dict[str, Any]:
    weights = mixed(file)
    data = memoryview(path.read_bytes()) if weights else memoryview(b"")
    if not weights or not replaceable(data, weights):
        return {"model_path": str(path)}
    return {"model_content": with_real_weights(data, weights)}


def _interpreter(model: dict[str, Any], threads: int, keep: bool, delegate: bool) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise MissingDependency(
            "ai-edge-litert is missing or broken", str(error), "pip install ai-edge-litert"
        ) from error
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    resolver = OpResolverType.AUTO if delegate and not keep else plain
    return Interpreter(
        **model,
        num_threads=threads,
        experimental_op_resolver_type=resolver,
        experimental_preserve_all_tensors=keep,
    )


def _specs(file: File, names: list[str], indices: tuple[int, ...]) -> list[TensorSpec]:
    specs = []
    for name, index in zip(names, indices, strict=True):
        tensor = file.subgraphs[0].tensors[index]
        shape = tuple(
            d if d >= 0 else ("batch" if axis == 0 else f"{name}_{axis}") for axis, d in enumerate(tensor.signature)
        )
        specs.append(TensorSpec(name, tensor.dtype, shape))
    return specs

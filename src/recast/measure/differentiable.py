"""A graph as a differentiable network: written as PyTorch source, loaded in a child process, fed with real numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recast import formats, passes
from recast._util import progress
from recast._util.child import RemoteRunner
from recast.errors import BadModel
from recast.formats._format import WriteOptions
from recast.measure.accuracy import Task
from recast.measure.coding import Code, order_for
from recast.measure.subject import Subject

if TYPE_CHECKING:
    import onnx_ir as ir

_MODULE = "recast.formats.torch.gradients"
_THROUGH = {"QuantizeLinear", "DequantizeLinear", "Identity"}


@contextmanager
def opened(subject: Subject, task: Task) -> Iterator[Network]:
    """The subject's graph with gradients.

    Raises:
        BadModel: there is no graph, or it does not have one input of numbers.
        UnsupportedOp: PyTorch cannot express it.
        MissingDependency: PyTorch is not installed.
    """
    if subject.graph is None:
        raise BadModel("the graph is only known to the file's own code", str(subject.path), "convert it first")
    model = subject.graph.clone()
    if len(model.graph.inputs) != 1:
        raise BadModel(f"{len(model.graph.inputs)} inputs: gradients are taken for one", str(subject.path))
    given = model.graph.inputs[0]
    code = subject.codes.get(given.name or "")
    if code is None and (given.dtype is None or not given.dtype.is_floating_point()):
        raise BadModel("the input holds no real numbers: there is no gradient", f"input {given.name}")
    stripped = strip(model) if task.kind != "reconstruction" else ""
    output = subject.codes.get(model.graph.outputs[0].name or "")
    format_ = formats.by_name("torch")
    options = passes.PassOptions(format_.layout, "keep", None, format_.rnn_batch_major, format_.keep_functions)
    passes.run(model, list(format_.passes), options)
    with tempfile.TemporaryDirectory(prefix="recast-") as folder:
        script = format_.write(model, Path(folder) / "network.py", WriteOptions()).files[0]
        settings: dict[str, Any] = import_module(_MODULE).wanted(script)
        settings |= {"code": _integers(code, given), "output": [output.scale, output.zero] if output else None}
        probability = stripped == "" and task.threshold > 0
        settings |= {"kind": task.kind, "probability": probability}
        with RemoteRunner(_MODULE, script, settings) as runner:
            yield Network(subject, runner, task.threshold if probability else 0.0)


def _integers(code: Code | None, value: ir.Value) -> list[float] | None:
    if code is None or value.dtype is None:
        return None
    limits = np.iinfo(value.dtype.numpy())
    return [code.scale, code.zero, int(limits.min), int(limits.max)]


def strip(model: ir.Model) -> str:
    """Make the scores before a last Softmax, LogSoftmax or Sigmoid the only output, so that gradients do not vanish.

    Returns:
        The operator that was left out, or "".
    """
    graph = model.graph
    value: ir.Value | None = graph.outputs[0]
    while value is not None and (node := value.producer()) is not None and node.op_type in _THROUGH:
        value = node.inputs[0]
    node = value.producer() if value is not None else None
    found = node.op_type if node is not None and node.op_type in ("Softmax", "LogSoftmax", "Sigmoid") else ""
    source = node.inputs[0] if found and node is not None else graph.outputs[0]
    graph.outputs[:] = [source] if source is not None else graph.outputs[:1]
    return found


class Network:
    """A differentiable network whose input's own axes are hidden: samples are as the original takes them."""

    def __init__(self, subject: Subject, runner: RemoteRunner, threshold: float = 0.0) -> None:
        self.subject, self._runner, self.threshold = subject, runner, threshold
        self._spec = runner.inputs[0]

    def _in(self, real: np.ndarray) -> tuple[np.ndarray, tuple[int, ...] | None]:
        """Samples in the axes of the input, and the order that brings results back."""
        order = order_for(real.shape, self._spec)
        if order is None:
            return real.astype(np.float32), None
        return real.transpose(order).astype(np.float32), tuple(int(i) for i in np.argsort(order))

    def _call(self, name: str, real: np.ndarray, labels: np.ndarray | None, **options: Any) -> tuple[Any, np.ndarray]:
        x, back = self._in(real)
        feeds = {"x": x} if labels is None else {"x": x, "y": labels.astype(np.int64)}
        told, arrays = self._runner.call(name, feeds, **options)
        (found,) = arrays.values()
        same = back is not None and found.shape == x.shape
        return told, found.transpose(back) if same and back is not None else found

    def outputs(self, real: np.ndarray) -> np.ndarray:
        """Scores (before a last Softmax or Sigmoid), real numbers."""
        return self._call("evaluate", real, None)[1]

    def gradient(self, real: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Gradient of the loss; shape of the samples."""
        return self._call("gradient", real, labels)[1]

    def attack(self, real: np.ndarray, labels: np.ndarray, radius: float, settings: Mapping[str, Any]) -> np.ndarray:
        """Adversarial samples; see ``formats.torch.gradients.Session.attack``."""
        return self._call("attack", real, labels, radius=radius, **settings)[1]

    def synthesise(self, noise: np.ndarray, steps: int) -> np.ndarray:
        """Inputs that fit the statistics of every BatchNormalization; see ``measure.synthetic``.

        A step a request, so that none takes longer than requests may.
        """
        found = self._call("synthesise", noise, None, steps=0)[1]
        for number in range(steps):
            progress.emit("synthesising inputs", number, steps)
            found = self._call("synthesise", noise, None, steps=1)[1]
        return found

    def attribute(self, real: np.ndarray, target: np.ndarray, method: str) -> tuple[list[float], np.ndarray]:
        """An attribution map for each sample; see ``formats.torch.gradients.Session.attribute``."""
        return self._call("attribute", real, target, how=method)

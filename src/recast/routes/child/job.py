"""One conversion as a tool sees it, and the source in its own framework; imports nothing of Recast (``main.py``)."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from dataclasses import dataclass, field
from typing import Any

Shapes = dict[str, list[Any]]
_EXAMPLE = (2, 3, 5, 7, 11, 13)  # sizes of dynamic dimensions while tracing: distinct, and none is 1


class Refused(Exception):
    """The request does not fit the source; ``fix`` says what to do."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what)
        self.fix = fix


@dataclass
class Job:
    """What to convert.

    Attributes:
        source: file, folder or ``package.module:factory``.
        kind: what it is: ``keras``, ``savedmodel``, ``tflite``, ``onnx``, ``torch``, ``torchscript``.
        target: the file to make, empty folder around it.
        to: format of the target.
        opset: of an ONNX target; None is the tool's own choice.
        inputs: shapes by input name, or ``#0`` for a position; a word is a dynamic dimension.
        weights: checkpoint for a factory.
        trust: code in the source may run.
        imports: modules or ``.py`` files with custom layers.
    """

    source: str
    kind: str
    target: str = ""
    to: str = ""
    opset: int | None = None
    inputs: Shapes = field(default_factory=dict)
    weights: str | None = None
    trust: bool = False
    imports: list[str] = field(default_factory=list)

    def source_model(self) -> Source:
        """The source, loaded in its own framework."""
        if self.kind == "keras":
            return KerasSource(self)
        if self.kind == "savedmodel":
            return SavedModelSource(self)
        if self.kind in ("torch", "torchscript"):
            return TorchSource(self)
        raise Refused(f"there is no runtime for {self.kind} here", "install the runtime that Recast uses for it")

    def custom_objects(self) -> dict[str, Any]:
        """Classes and functions of the imported modules, by name."""
        found: dict[str, Any] = {}
        for place in self.imports:
            module = _module(place)
            found.update({n: v for n, v in vars(module).items() if inspect.isclass(v) or inspect.isfunction(v)})
        return found


class Source:
    """A loaded model: arrays in and out by position.

    Attributes:
        inputs, outputs: ``[name, dtype, shape]``; a word or None in a shape is a dynamic dimension.
        runtime: name and version.
    """

    inputs: list[list[Any]]
    outputs: list[list[Any]]
    runtime: str

    def run(self, arrays: list[Any]) -> list[Any]:
        """Run once in inference mode."""
        raise NotImplementedError


def _module(place: str) -> Any:
    if place.endswith(".py"):
        name = os.path.splitext(os.path.basename(place))[0]
        spec = importlib.util.spec_from_file_location(name, place)
        if spec is None or spec.loader is None:
            raise ImportError(place)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return importlib.import_module(place)


def _dims(shape: Any, name: str) -> list[Any]:
    return [f"{name}_{i}" if d is None or (isinstance(d, int) and d < 0) else int(d) for i, d in enumerate(shape)]


class KerasSource(Source):
    """A ``.keras`` or ``.h5`` file in Keras 3 on TensorFlow, or in Keras 2 where ``TF_USE_LEGACY_KERAS=1`` says so."""

    def __init__(self, job: Job) -> None:
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        legacy = os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True")
        self.keras = importlib.import_module("tf_keras" if legacy else "keras")
        old = self.keras.__version__.startswith("2")
        if old and not job.trust:
            raise Refused("Keras 2 runs code from a file without asking", "pass --trust if the file is yours")
        objects = {"DepthwiseConv2D": _depthwise(self.keras), **job.custom_objects()}
        safe = {} if old else {"safe_mode": not job.trust}
        self.model = self.keras.models.load_model(job.source, compile=False, custom_objects=objects, **safe)
        if not getattr(self.model, "inputs", None):
            raise Refused("the model does not say what its inputs are", "call or build it once before it is saved")
        self.runtime = f"keras {self.keras.__version__}"
        names = [getattr(t, "name", f"input_{i}").partition(":")[0] for i, t in enumerate(self.model.inputs)]
        self.inputs = [
            [n, _dtype(t), _dims(t.shape, n)]
            for n, t in zip(names, self.model.inputs)  # noqa: B905 Python 3.9
        ]
        named = list(getattr(self.model, "output_names", None) or [])
        self.outputs = []
        for i, tensor in enumerate(self.model.outputs):
            name = named[i] if len(named) == len(self.model.outputs) else f"output_{i}"
            self.outputs.append([name, _dtype(tensor), _dims(tensor.shape, name)])

    def call(self, tensors: list[Any]) -> Any:
        """The model on tensors, in inference mode."""
        return self.model(tensors if len(tensors) > 1 else tensors[0], training=False)

    def run(self, arrays: list[Any]) -> list[Any]:
        """See ``Source``."""
        import numpy as np

        made = self.call(arrays)
        values = list(made.values()) if isinstance(made, dict) else made
        return [np.asarray(v) for v in (values if isinstance(values, (list, tuple)) else [values])]

    def signature(self) -> tuple[Any, list[Any]]:
        """The model as a ``tf.function``, and its input signature."""
        tf = importlib.import_module("tensorflow")
        specs = [
            tf.TensorSpec([d if isinstance(d, int) else None for d in shape], dtype, name=name)
            for name, dtype, shape in self.inputs
        ]
        return tf.function(lambda *x: self.call(list(x)), input_signature=specs), specs


def _dtype(tensor: Any) -> str:
    return str(getattr(tensor.dtype, "name", tensor.dtype))


def _depthwise(keras: Any) -> Any:
    """Files of Keras 2 say ``groups=1`` of a DepthwiseConv2D, which Keras 3 refuses."""

    class DepthwiseConv2D(keras.layers.DepthwiseConv2D):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            if kwargs.get("groups") == 1:
                del kwargs["groups"]
            super().__init__(*args, **kwargs)

    return DepthwiseConv2D


class SavedModelSource(Source):
    """A SavedModel's default signature in TensorFlow."""

    def __init__(self, job: Job) -> None:
        tf = importlib.import_module("tensorflow")
        self._held = tf.saved_model.load(job.source)
        self._call = self._held.signatures["serving_default"]
        self.runtime = f"tensorflow {tf.__version__}"
        given = self._call.structured_input_signature[1]
        self.inputs = [[n, s.dtype.name, _dims(s.shape, n)] for n, s in sorted(given.items())]
        made = self._call.structured_outputs
        self.outputs = [[n, s.dtype.name, _dims(s.shape, n)] for n, s in sorted(made.items())]

    def run(self, arrays: list[Any]) -> list[Any]:
        """See ``Source``."""
        tf = importlib.import_module("tensorflow")
        named = {spec[0]: tf.constant(a) for spec, a in zip(self.inputs, arrays)}  # noqa: B905 Python 3.9
        made = self._call(**named)
        return [made[spec[0]].numpy() for spec in self.outputs]


class TorchSource(Source):
    """A factory's module, a ``.py`` that Recast wrote, an exported program, or TorchScript."""

    def __init__(self, job: Job) -> None:
        self._torch = torch = importlib.import_module("torch")
        torch.set_num_threads(1)
        self.runtime = f"torch {torch.__version__}"
        self.inputs = []
        if job.kind == "torchscript":
            _need_trust(job, "TorchScript")
            self.model = torch.jit.load(job.source, map_location="cpu").eval()
        elif job.source.endswith(".pt2"):
            _need_trust(job, ".pt2 file")
            self.model = self._program(job.source)
        else:
            self.model = self._factory(job)
        if job.inputs:
            self.inputs = self._named(job.inputs)
        if not self.inputs:
            raise Refused("the shapes of the inputs are not known", "pass --input 1,3,224,224")
        made = self._flat(self._called(self.examples()))
        self.outputs = [
            [f"output_{i}" if len(made) > 1 else "output", str(t.dtype).replace("torch.", ""), list(t.shape)]
            for i, t in enumerate(made)
        ]

    def _program(self, path: str) -> Any:
        import json

        extra = {"recast.json": ""}
        program = self._torch.export.load(path, extra_files=extra)
        if extra["recast.json"]:
            self.inputs = json.loads(extra["recast.json"])["inputs"]
        else:
            nodes = [n for n in program.graph.nodes if n.name in program.graph_signature.user_inputs]
            self.inputs = [
                [n.name, str(n.meta["val"].dtype).replace("torch.", ""), _symbols(n.meta["val"].shape)] for n in nodes
            ]
        return program.module()

    def _factory(self, job: Job) -> Any:
        place, colon, name = job.source.rpartition(":")
        if not colon or not name.isidentifier():
            _need_trust(job, ".py file")
            module = _module(job.source)
            self.inputs = [list(spec) for spec in getattr(module, "INPUTS", [])]
            return module.load().eval()
        made = getattr(_module(place), name)
        made = made if isinstance(made, self._torch.nn.Module) else made()
        if isinstance(made, tuple):
            made, given = made
            given = given if isinstance(given, tuple) else (given,)
            names = list(inspect.signature(made.forward).parameters)
            self.inputs = [
                [n, str(t.dtype).replace("torch.", ""), list(t.shape)]
                for n, t in zip(names, given)  # noqa: B905
            ]
        if job.weights:
            state = self._torch.load(job.weights, map_location="cpu", weights_only=True)
            made.load_state_dict({k.removeprefix("module."): v for k, v in state.get("state_dict", state).items()})
        return made.eval()

    def _named(self, shapes: Shapes) -> list[list[Any]]:
        names = [spec[0] for spec in self.inputs]
        if not names:
            forward = getattr(self.model, "forward", self.model)
            try:
                names = [p for p in inspect.signature(forward).parameters if p != "self"]
            except (TypeError, ValueError):
                names = []
            if not names or names == ["args", "kwargs"]:
                schema = getattr(forward, "schema", None)
                names = [a.name for a in schema.arguments][1:] if schema is not None else []
        types = {spec[0]: spec[1] for spec in self.inputs}
        found = []
        for key, shape in shapes.items():
            place = int(key[1:]) if key.startswith("#") else -1
            name = names[place] if 0 <= place < len(names) else key.lstrip("#")
            ids = any(word in name for word in ("_ids", "ids", "tokens", "mask"))
            found.append([name, types.get(name, "int64" if ids else "float32"), list(shape)])
        return found

    def examples(self) -> tuple[Any, ...]:
        """Example tensors; the same word in two shapes is the same size."""
        sizes: dict[str, int] = {}
        made = []
        generator = self._torch.Generator().manual_seed(0)
        for _, dtype, shape in self.inputs:
            dims = [d if isinstance(d, int) else sizes.setdefault(d, _EXAMPLE[len(sizes) % 6]) for d in shape]
            kind = getattr(self._torch, dtype)
            made.append(
                self._torch.randn(dims, generator=generator).to(kind)
                if kind.is_floating_point
                else self._torch.ones(dims, dtype=kind)
            )
        return tuple(made)

    def _called(self, tensors: Any) -> Any:
        with self._torch.no_grad():
            return self.model(*tensors)

    def _flat(self, made: Any) -> list[Any]:
        if isinstance(made, dict):
            made = list(made.values())
        if isinstance(made, (list, tuple)):
            return [t for item in made for t in self._flat(item)]
        return [made]

    def run(self, arrays: list[Any]) -> list[Any]:
        """See ``Source``."""
        tensors = [self._torch.from_numpy(a.copy()) for a in arrays]
        return [t.detach().numpy() for t in self._flat(self._called(tensors))]


def _symbols(shape: Any) -> list[Any]:
    return [d if isinstance(d, int) else str(d) for d in shape]


def _need_trust(job: Job, what: str) -> None:
    if not job.trust:
        raise Refused(f"loading a {what} runs code from it", "pass --trust if it is yours")

"""The judge: PyTorch, in a child process. The only place of this format that imports torch."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from recast._util.child import TensorSpec
from recast._util.optional import need
from recast.errors import BadModel, UnsafeModel, UnsupportedOp
from recast.formats.torch.trust import sha256
from recast.graph import dims

SPECS = "recast.json"  # entry of a .pt2 that says what its tensors are called
_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23)
_IMAGES = (6, 96, 128, 160, 192, 224, 256, 288)  # for networks that divide by their strides


def preload() -> None:
    """Import PyTorch."""
    need("torch", "torch")


class Session:
    """A network in PyTorch: evaluation mode, no gradients.

    Args:
        path: ``.py`` (with its weights beside it), ``.pt``/``.pth`` (with its ``.py``), or ``.pt2``.
        options: ``sha256``: hashes of code files that may be executed; ``trust``: execute any; ``threads``.

    Raises:
        UnsafeModel: the file is code that is not known to be ours.
        BadModel: a companion is missing.
    """

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        self.torch = need("torch", "torch")
        self.torch.set_num_threads(int(options.get("threads", 1)))
        file = Path(path)
        code = file if file.suffix.lower() == ".pt2" else file.with_suffix(".py")
        _check(code, options)
        if file.suffix.lower() == ".pt2":
            inputs, outputs = self._load_program(file)
        else:
            module = import_file(code)
            self.model = module.load() if file.suffix.lower() == ".py" else module.load(file)
            inputs, outputs = module.INPUTS, module.OUTPUTS
        self.inputs = [TensorSpec(n, d, tuple(s)) for n, d, s in inputs]
        self.outputs = [TensorSpec(n, d, tuple(s)) for n, d, s in outputs]

    def _load_program(self, file: Path) -> tuple[Any, Any]:
        extra = {SPECS: ""}
        program = self.torch.export.load(str(file), extra_files=extra)
        if not extra[SPECS]:
            raise BadModel("the exported program does not say what its tensors are called", str(file))
        self.model = program.module()
        specs = json.loads(extra[SPECS])
        return specs["inputs"], specs["outputs"]

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once; arrays by tensor name."""
        results = self._call(self._tensors(feeds))
        return {s.name: self._array(r) for s, r in zip(self.outputs, results, strict=True)}

    def _tensors(self, feeds: Mapping[str, np.ndarray]) -> list[Any]:
        missing = [s.name for s in self.inputs if s.name not in feeds]
        if missing:
            raise BadModel(f"no value is given for: {', '.join(missing)}")
        return [self._tensor(feeds[s.name]) for s in self.inputs]

    def _call(self, tensors: list[Any]) -> tuple[Any, ...]:
        with self.torch.no_grad():
            result = self.model(*tensors)
        return tuple(result) if isinstance(result, tuple) else (result,)

    def straighten(self) -> None:
        """From now on activations are rounded in floating point and with the gradient of the identity."""
        forward = type(self.model).forward.__globals__
        if "quantize" in forward:
            forward["quantize"] = self._straight

    def _straight(self, *args: Any) -> Any:
        """``quantize`` of the written module; saturated values pass no gradient."""
        torch = self.torch
        x, scale, zero, limits, _, axis, block = (*args, 1, 0)[:7]
        spread = type(self.model).forward.__globals__["spread"]
        y = x.to(torch.float32) / spread(scale, x, axis, block).to(torch.float32)
        y = y + (torch.round(y) - y).detach()
        if zero is not None:
            y = y + spread(zero, x, axis, block).to(y.dtype)
        return y.clamp(*limits)

    def latency(
        self, feeds: Mapping[str, np.ndarray], repeats: int = 50, warmup: int = 5
    ) -> tuple[list[float], dict[str, np.ndarray]]:
        """Seconds of each of ``repeats`` runs after ``warmup`` ones."""
        tensors = self._tensors(feeds)
        times = []
        for turn in range(warmup + repeats):
            start = time.perf_counter()
            self._call(tensors)
            if turn >= warmup:
                times.append(time.perf_counter() - start)
        return times, {}

    def tensors(self, feeds: Mapping[str, np.ndarray]) -> tuple[Any, dict[str, np.ndarray]]:
        """Outputs of every submodule, by its path (calls of one module: the last one)."""
        found: dict[str, np.ndarray] = {}

        def keep(name: str) -> Any:
            def hook(_module: Any, _args: Any, output: Any) -> None:
                if isinstance(output, self.torch.Tensor):
                    found[name] = self._array(output)

            return hook

        hooks = [m.register_forward_hook(keep(n)) for n, m in self.model.named_modules() if n]
        try:
            self._call(self._tensors(feeds))
        finally:
            for hook in hooks:
                hook.remove()
        return sorted(found), found

    def export(self, feeds: Mapping[str, np.ndarray], target: str) -> tuple[Any, dict[str, np.ndarray]]:
        """Save the network as an exported program; named dimensions stay dynamic."""
        names = dims.names(d for spec in self.inputs for d in spec.shape)
        try:
            program = self._exported(names, _PRIMES)
        except Exception as error:
            try:
                program = self._exported(names, _IMAGES) if names else None
            except Exception:  # the smaller sizes tell more
                program = None
            if program is None:
                reason = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
                raise UnsupportedOp(
                    f"torch.export cannot express this network: {type(error).__name__}: {reason[:400]}",
                    target,
                    "write .py, or fix the dimensions that the network decides on (--input NAME=1,3,224,224)",
                ) from error
        specs = {"inputs": [s.as_list() for s in self.inputs], "outputs": [s.as_list() for s in self.outputs]}
        self.torch.export.save(program, target, extra_files={SPECS: json.dumps(specs)})
        return sorted(names), {}

    def _exported(self, names: Sequence[str], tried: Sequence[int]) -> Any:
        """The program, traced with these sizes of the dynamic dimensions."""
        sizes = {name: tried[i % len(tried)] for i, name in enumerate(names)}
        examples = [
            self.torch.zeros(dims.filled(spec.shape, sizes), dtype=getattr(self.torch, spec.dtype))
            for spec in self.inputs
        ]
        free = self.torch.export.Dim.DYNAMIC
        dynamic = tuple({i: free for i, d in enumerate(s.shape) if isinstance(d, str)} for s in self.inputs)
        with self.torch.no_grad():
            return self.torch.export.export(self.model, tuple(examples), dynamic_shapes=dynamic if sizes else None)

    def _tensor(self, array: np.ndarray) -> Any:
        name = array.dtype.name
        if name == "bfloat16" or name.startswith("float8"):
            bits = array.view(np.int16 if name == "bfloat16" else np.uint8)
            return self.torch.from_numpy(bits.copy()).view(getattr(self.torch, name))
        if name in ("int4", "uint4", "int2", "uint2"):
            array = array.astype("int8" if name.startswith("int") else "uint8")
        return self.torch.from_numpy(np.array(array, order="C"))

    def _array(self, tensor: Any) -> np.ndarray:
        name = str(tensor.dtype).removeprefix("torch.")
        tensor = tensor.detach().cpu().contiguous()
        if name == "bfloat16" or name.startswith("float8"):
            import ml_dtypes

            bits: np.ndarray = tensor.view(self.torch.int16 if name == "bfloat16" else self.torch.uint8).numpy()
            return bits.view(getattr(ml_dtypes, name))
        array: np.ndarray = tensor.numpy()
        return array


def _check(code: Path, options: Mapping[str, Any]) -> None:
    if not code.is_file():
        raise BadModel("the file of code is not there", str(code), "keep NAME.py beside its weights")
    if not options.get("trust") and sha256(code) not in set(options.get("sha256", ())):
        raise UnsafeModel(
            "loading this file would execute code that was not written in this run",
            str(code),
            "convert again, or pass --trust if you know where the file comes from",
        )


def import_file(path: Path) -> ModuleType:
    """Run a Python file as a module.

    Raises:
        BadModel: it is no Python source.
    """
    spec = importlib.util.spec_from_file_location("recast_generated", path)
    if spec is None or spec.loader is None:
        raise BadModel("the file is no Python source", str(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

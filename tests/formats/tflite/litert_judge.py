"""The judge's side, in a child process: LiteRT's interpreter runs files one after another (it may crash)."""

from __future__ import annotations

from typing import Any

import numpy as np


class Session:
    """Serves ``judge`` calls; a path given at the start is ignored."""

    def __init__(self, path: str, options: dict[str, Any]) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self._make = Interpreter
        self._plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

    def judge(
        self, feeds: dict[str, np.ndarray], path: str, delegate: bool = True
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Run a file through its signature, inputs resized to the feeds; the names of its operators."""
        more = {} if delegate else {"experimental_op_resolver_type": self._plain}
        interpreter = self._make(model_path=path, num_threads=1, **more)
        signature = interpreter._get_full_signature_list().get("serving_default") or {
            "inputs": {f"input{i}": d["index"] for i, d in enumerate(interpreter.get_input_details())},
            "outputs": {f"output{i}": d["index"] for i, d in enumerate(interpreter.get_output_details())},
        }
        if list(feeds) == [""]:  # whatever the only input is called
            feeds = {next(iter(signature["inputs"])): feeds[""]}
        assert sorted(signature["inputs"]) == sorted(feeds), (signature, list(feeds))
        for name, array in feeds.items():
            index = signature["inputs"][name]
            if tuple(next(d["shape"] for d in interpreter.get_input_details() if d["index"] == index)) != array.shape:
                interpreter.resize_tensor_input(index, array.shape, strict=True)
        interpreter.allocate_tensors()
        for name, array in feeds.items():
            interpreter.set_tensor(signature["inputs"][name], array)
        interpreter.invoke()
        outputs = {name: np.asarray(interpreter.get_tensor(index)) for name, index in signature["outputs"].items()}
        names = [d["op_name"] for d in interpreter._get_ops_details()]
        # the delegate's own nodes come on top of the file's
        info = {"operators": [n for n in names if n != "DELEGATE"], "delegates": names.count("DELEGATE")}
        return info, outputs

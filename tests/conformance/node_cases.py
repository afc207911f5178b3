"""ONNX's own node tests as conformance cases: which there are, how one is run through a writer, how it is judged.

Two forms. *As given*: weights, axes and shapes are graph inputs too. *Constant*: every input but the first is a
constant, as in real models. A case is judged by the outputs that the ``onnx`` package stores, never by ourselves.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import recast
from recast import formats
from recast.errors import InternalError, RecastError, RuntimeDied, RuntimeRefused
from recast.formats._format import Format
from recast.recipe import Checking, Recipe, Writing

READ_BACK = ("keras", "tflite", "mindspore")  # targets whose files are parsed, so that what is written is read again
TARGETS = {"torch": "py", "keras": "keras", "tflite": "tflite", "mindspore": "mindir", "onnx": "onnx"}
FORMS = ("constant", "given")
_RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
_NARROW = ("BFLOAT16", "COMPLEX", "FLOAT8", "FLOAT4", "INT4", "UINT4", "INT2", "UINT2")
_RECIPE = Recipe(writing=Writing(force=True), checking=Checking(verify=False))
RTOL, ATOL = 1e-3, 1e-5  # of the stored outputs; integers and booleans exactly


@dataclass(frozen=True)
class Case:
    """One node test: its name, its operators, the model, inputs and outputs in the graph's order."""

    name: str
    operators: tuple[str, ...]
    model: Any
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Result:
    """``status``: ``pass``, ``refused`` (a coded error), ``wrong`` (delivered, but not right), ``died``, ``defect``.

    ``back``: of the file that was read back; the written one passed.
    """

    status: str
    told: str = ""
    back: bool = False


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from _nodes(inner)


def _wanted(case: Any) -> bool:
    """Default domain and tensors only; without training, random, string, sequence and optional."""
    import onnx

    values = [*case.model.graph.input, *case.model.graph.output]
    if any(v.type.WhichOneof("value") != "tensor_type" for v in values):
        return False
    kinds = {onnx.TensorProto.DataType.Name(v.type.tensor_type.elem_type) for v in values}
    if any(k == "STRING" or k.startswith(_NARROW) for k in kinds):
        return False
    for node in _nodes(case.model.graph):
        if node.domain not in ("", "ai.onnx") or node.op_type in _RANDOM:
            return False
        if node.op_type.startswith(("Optional", "Sequence")):
            return False
        if any(a.name == "training_mode" and a.i for a in node.attribute):
            return False
    return "training" not in case.name


def _array(value: Any) -> np.ndarray:
    """The package stores arrays, and tensors of protobuf."""
    from onnx import TensorProto, numpy_helper

    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


@cache
def cases() -> dict[str, Case]:
    """All cases by name: 1,597 with onnx 1.23.2."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package makes its data with overflows, on purpose
        found = [c for c in load_model_tests(kind="node") if _wanted(c)]
    made = {}
    for case in found:
        inputs, outputs = ([_array(v) for v in values] for values in case.data_sets[0])
        operators = tuple(dict.fromkeys(n.op_type for n in _nodes(case.model.graph)))
        name = case.name.removeprefix("test_")
        made[name] = Case(name, operators, case.model, tuple(inputs), tuple(outputs))
    return made


def formed(case: Case, form: str) -> tuple[Any, tuple[np.ndarray, ...]]:
    """The model in that form, and the arrays of the inputs that are left."""
    import onnx
    from onnx import numpy_helper

    if form == "given" or len(case.inputs) < 2:
        return case.model, case.inputs
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    values = list(model.graph.input)
    for value, array in list(zip(values, case.inputs, strict=True))[1:]:
        model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        model.graph.input.remove(value)
    return model, case.inputs[:1]


def run(case: Case, target: str, form: str, back: bool = False) -> Result:
    """Convert one case (without proof), load it in the target's own runtime, compare with the stored outputs.

    ``back``: then read the file, write it as ``.onnx``, and compare what ONNX Runtime makes of that.
    """
    with tempfile.TemporaryDirectory(prefix="recast-node-") as name:
        made, arrays = _written(case, target, form, Path(name))
        if isinstance(made, Result):
            return made
        found = _outcome(made, formats.by_name(target), case, arrays)
        return found if found.status != "pass" or not back else _read_back(made, case, arrays)


def read_back(case: Case, target: str, form: str) -> Result:
    """As ``run`` with ``back``, for a case whose file is known to pass in the target's runtime, which is left out."""
    with tempfile.TemporaryDirectory(prefix="recast-node-") as name:
        made, arrays = _written(case, target, form, Path(name))
        return made if isinstance(made, Result) else _read_back(made, case, arrays)


def _written(case: Case, target: str, form: str, folder: Path) -> tuple[Path | Result, tuple[np.ndarray, ...]]:
    """The file that the writer makes, or why there is none; and the arrays of the inputs."""
    import onnx

    model, arrays = formed(case, form)
    source = folder / "case.onnx"
    onnx.save(model, source)
    try:
        made = recast.convert(source, folder / f"made.{TARGETS[target]}", _RECIPE)
    except InternalError as error:
        return Result("defect", error.what[:200]), arrays
    except RecastError as error:
        told = f"{error.code} {error.what}: {error.where}".replace(f"{folder}/", "")
        return Result("refused", told[:300]), arrays
    except Exception as error:
        return Result("defect", f"{type(error).__name__}: {error}"[:200]), arrays
    return made.files[0], arrays


def _outcome(path: Path, format_: Format, case: Case, arrays: tuple[np.ndarray, ...]) -> Result:
    try:
        return _judged(path, format_, case, arrays)
    except RecastError as error:  # a file that its own runtime refuses is as bad as a wrong number
        died = isinstance(error, RuntimeDied) and not isinstance(error, RuntimeRefused)
        return Result("died" if died else "wrong", error.what[:300])


def _read_back(path: Path, case: Case, arrays: tuple[np.ndarray, ...]) -> Result:
    """What a written file is when it is read: ONNX Runtime judges, or ONNX's evaluator where it has no kernel."""
    again = path.with_name("back.onnx")
    try:
        recast.convert(path, again, _RECIPE)
    except InternalError as error:
        return Result("defect", error.what[:200], True)
    except RecastError as error:
        told = f"{error.code} {error.what}: {error.where}".replace(f"{path.parent}/", "")
        return Result("refused", told[:300], True)
    except Exception as error:
        return Result("defect", f"{type(error).__name__}: {error}"[:200], True)
    found = _outcome(again, formats.by_name("onnx"), case, arrays)
    if "NOT_IMPLEMENTED" in found.told:
        found = _evaluated(again, case, arrays)
    return Result(found.status, found.told, True)


def _evaluated(path: Path, case: Case, arrays: tuple[np.ndarray, ...]) -> Result:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))
    names = _names([i.name for i in case.model.graph.input][: len(arrays)], list(evaluator.input_names))
    found = dict(
        zip(
            evaluator.output_names,
            evaluator.run(None, {n: a for n, a in zip(names, arrays, strict=True) if n}),
            strict=True,
        )
    )
    order = _names([o.name for o in case.model.graph.output], list(evaluator.output_names))
    return compare(case.outputs, tuple(np.asarray(found[o]) for o in order))


def _judged(path: Path, format_: Format, case: Case, arrays: tuple[np.ndarray, ...]) -> Result:
    runner = format_.open(path)
    try:
        graph = case.model.graph
        names = _names([i.name for i in graph.input][: len(arrays)], [s.name for s in runner.inputs])
        found = runner.run({n: a for n, a in zip(names, arrays, strict=True) if n})
        order = _names([o.name for o in graph.output], [s.name for s in runner.outputs])
        return compare(case.outputs, tuple(found[o] for o in order))
    finally:
        runner.close()


def _names(wanted: list[str], have: list[str]) -> list[str]:
    """The runtime's names in the graph's order: by name, or else by position; "" for an input that nothing reads.

    Raises:
        RecastError: there are others, or fewer.
    """
    if set(have) <= set(wanted):
        return [n if n in have else "" for n in wanted]
    if len(have) != len(wanted):
        raise RecastError(f"the graph has {wanted}, the target has {have}")
    return have


def compare(wanted: tuple[np.ndarray, ...], found: tuple[np.ndarray, ...]) -> Result:
    """``pass``, or ``wrong`` with the first difference. Integer widths may differ; shapes and kinds may not."""
    for number, (right, mine) in enumerate(zip(wanted, found, strict=True)):
        if right.shape != mine.shape:
            return Result("wrong", f"output {number}: shape {list(mine.shape)} instead of {list(right.shape)}")
        if right.dtype != mine.dtype and not (right.dtype.kind in "iu" and mine.dtype.kind in "iu"):
            return Result("wrong", f"output {number}: {mine.dtype} instead of {right.dtype}")
        if right.dtype.kind == "f":
            close = np.isclose(mine.astype(np.float64), right.astype(np.float64), RTOL, ATOL, equal_nan=True)
        else:
            close = np.asarray(right == mine)
        if not close.all():
            at = tuple(int(i) for i in np.argwhere(~close)[0])
            return Result("wrong", f"output {number} at {list(at)}: {mine[at]!r} instead of {right[at]!r}")
    return Result("pass")

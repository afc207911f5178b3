"""The writer's tables agree with each other and with ONNX."""

from __future__ import annotations

import onnx

from recast.formats.tflite import FORMAT, schema
from recast.formats.tflite.write_runtime import _NEEDS
from recast.formats.tflite.write_versions import TYPES
from recast.formats.tflite.writing import handlers


def test_functions_that_are_kept_are_written() -> None:
    functions = set()
    for _, op_type in handlers():
        if not onnx.defs.has(op_type, 25):
            continue  # newer than the dialect; ONNX has no function for it
        found = onnx.defs.get_schema(op_type, 25)
        if found.has_function or found.has_context_dependent_function:
            functions.add(op_type)
    assert functions == FORMAT.keep_functions


def test_tables_name_builtins_and_types() -> None:
    builtins, types = schema.names("BuiltinOperator"), schema.names("TensorType")
    for builtin, text in TYPES.items():
        assert builtin in builtins
        items = [item.split(":") for item in text.split()]
        assert all(t in types and int(v) > 0 for t, v in items), builtin
        assert len({t for t, _ in items}) == len(items), builtin
    for needs in _NEEDS.values():
        assert all(item.split(":")[0] in builtins for item in needs.split())

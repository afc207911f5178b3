"""The schema tables agree with LiteRT's own generated bindings, read as text."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from recast.formats.tflite import schema
from recast.formats.tflite.schema_tables import ENUMS, TABLES


@pytest.fixture(scope="module")
def bindings() -> str:
    found = importlib.util.find_spec("ai_edge_litert")
    assert found is not None
    assert found.submodule_search_locations
    return (Path(found.submodule_search_locations[0]) / "schema_py_generated.py").read_text()


def test_enums_as_bindings(bindings: str) -> None:
    for enum in ENUMS:
        body = re.search(rf"^class {enum}\(object\):\n((?:    \w+ = \d+\n)+)", bindings, re.M)
        assert body is not None, enum
        listed = {n: int(v) for n, v in re.findall(r"(\w+) = (\d+)", body[1])}
        assert listed == {n: i for i, n in enumerate(schema.names(enum))}


def test_fields_as_bindings(bindings: str) -> None:
    kinds = {"Int": "i", "Uint": "u", "Float": "f", "Bool": "bool"}
    for table in TABLES:
        count = re.search(rf"^def {table}Start\(builder\):\n    builder.StartObject\((\d+)\)", bindings, re.M)
        assert count is not None, table
        assert len(TABLES[table].split()) == int(count[1]), table
        adds = re.findall(
            rf"^def {table}Add(\w+)\(builder, \w+\):\n    builder.Prepend(\w+?)(\d*)Slot\((\d+), .*?, ([^,\n]+)\)$",
            bindings,
            re.M,
        )
        by_slot = {int(slot): (name, kind, bits, default) for name, kind, bits, slot, default in adds}
        assert sorted(by_slot) == [f.slot for f in schema.fields(table)], table
        for field in schema.fields(table):
            name, kind, bits, default = by_slot[field.slot]
            assert name.lower() == field.name.replace("_", ""), (table, name)
            if field.kind == "scalar":
                assert kinds[kind] + bits == field.of, (table, name)
                assert float({"False": "0", "True": "1"}.get(default, default)) == float(field.default)
            else:
                assert kind == "UOffsetTRelative", (table, name)


def test_kinds_refer_to_known_tables() -> None:
    for table in TABLES:
        previous = ""
        for field in schema.fields(table):
            if field.kind in ("table", "vector"):
                assert field.of in TABLES or field.of in schema.SCALARS or field.of == "str", (table, field)
            if field.kind == "union":
                assert field.of in ENUMS
                assert previous == field.name + "_type"
            previous = field.name


def test_options_unions_name_tables() -> None:
    for union in ("BuiltinOptions", "BuiltinOptions2", "QuantizationDetails", "SparseIndexVector"):
        assert all(name in TABLES for name in schema.names(union)[1:])
    assert schema.number("BuiltinOperator", "CONV_2D") == 3
    assert schema.name_of("BuiltinOperator", 10_000) is None

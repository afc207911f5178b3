"""The operator facts agree with ONNX's own schemas and with what operators really do."""

from __future__ import annotations

import onnx
import pytest

from recast import ops
from recast.graph import OPSET


@pytest.mark.parametrize("op_type", sorted(ops.facts()))
def test_fact_fits_schema(op_type: str) -> None:
    schema = onnx.defs.get_schema(op_type, OPSET, "")
    facts = ops.facts()[op_type]
    assert len(facts.inputs) <= len(schema.inputs)
    assert len(facts.outputs) <= len(schema.outputs)
    required = [p for p in schema.inputs if p.option == onnx.defs.OpSchema.FormalParameterOption.Single]
    assert len([o for o in facts.inputs if not o.optional]) >= len(required) - 1 or facts.inputs[0].many
    for index, axis in facts.weights:
        assert index < len(facts.inputs)
        assert axis is None or axis < len(facts.inputs[index].dims)
    named = schema.attributes.get("axis")
    if named is not None and named.default_value.type == onnx.AttributeProto.INT and facts.kind != "fixed":
        assert facts.axis == named.default_value.i


@pytest.mark.parametrize("op_type", sorted(ops.facts()))
def test_macs_use_stated_names(op_type: str) -> None:
    facts = ops.facts()[op_type]
    names = {d.strip("*") for o in (*facts.inputs, *facts.outputs) for d in o.dims}
    names |= {o.role for o in (*facts.inputs, *facts.outputs)} | {"group"}
    for word in facts.macs.replace("+", "*").replace("/", "*").split("*"):
        assert not word or word in names


def test_weight_channel_is_an_output_dim() -> None:
    """Layers with weights: the weight's channel axis is named as a dim of the output (recurrent gates aside)."""
    for name, facts in ops.facts().items():
        index, axis = facts.weights[0] if facts.weights else (0, None)
        if axis is None or facts.kind == "recurrent":
            continue
        assert facts.inputs[index].dims[axis] in facts.outputs[0].dims, name


def test_operands_parse() -> None:
    conv = ops.fact("Conv")
    assert conv is not None
    assert [o.role for o in conv.inputs] == ["x", "w", "b"]
    assert conv.inputs[2].optional
    assert conv.outputs[0].dims == ("n", "k", "*t")
    concat = ops.fact("Concat")
    assert concat is not None
    assert concat.inputs[0].many
    assert ops.fact("NoSuchOperator") is None

"""verify(): verdicts, matching, permuted tensors, refusals; bisect and certificate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import checker_graphs
import numpy as np
import onnx_ir as ir
import pytest
from checker_faults import FAULTS, pick, set_attr

from recast.errors import ParityFailure, RuntimeDied
from recast.graph import PERM
from recast.graph.build import Builder
from recast.verification.certificate import certificate, certificate_path, certificate_text
from recast.verification.check import Options, Side, verify
from recast.verification.local import GraphRunner


def net(number: int = 3, name: str = "residual") -> ir.Model:
    return checker_graphs.MAKERS[name](np.random.default_rng(number))


def renamed(model: ir.Model) -> ir.Model:
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.name = f"serving_{value.name}"
    return model


def test_names_that_differ_are_matched_by_position_and_reported() -> None:
    report = verify(Side("a", None, net()), Side("b", GraphRunner(renamed(net()))))
    assert report.passed
    assert any("by position" in n.what for n in report.notes)


def _nhwc(model: ir.Model) -> ir.Model:
    """The same graph whose input is channels-last, marked as a layout pass marks it."""
    old = model.graph.inputs[0]
    shape = list(old.shape or ())
    new = ir.Value(name=old.name, shape=ir.Shape([shape[0], *shape[2:], shape[1]]), type=old.type)
    old.name = "inside"
    node = ir.Node("", "Transpose", [new], name="enter")
    set_attr(node, "perm", [0, 3, 1, 2])
    node.outputs[0].name = "entered"
    first = next(iter(model.graph))
    old.replace_all_uses_with(node.outputs[0])
    model.graph.insert_before(first, node)
    model.graph.inputs[0] = new
    new.metadata_props[PERM] = "0,2,3,1"
    return model


def test_permuted_input_is_fed_permuted() -> None:
    target = _nhwc(net())
    assert verify(Side("a", None, net()), Side("b", GraphRunner(target), target)).passed
    wrong = _nhwc(net())
    wrong.graph.inputs[0].metadata_props[PERM] = "0,3,2,1"
    report = verify(Side("a", None, net()), Side("b", GraphRunner(wrong), wrong))
    assert not report.passed


class Broken:
    """A target that dies, or answers in another form."""

    def __init__(self, model: ir.Model, how: str) -> None:
        self.inner, self.how = GraphRunner(model), how
        self.inputs, self.outputs = self.inner.inputs, self.inner.outputs

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self.how == "dies":
            raise RuntimeDied("the runtime was ended by SIGSEGV")
        result = self.inner.run(feeds)
        name = next(iter(result))
        value = result[name].copy()
        if self.how == "nan":
            value.reshape(-1)[0] = np.nan
        if self.how == "dtype":
            value = value.astype(np.float64)
        if self.how == "shape":
            value = value[..., None]
        return {**result, name: value}

    def close(self) -> None:
        self.inner.close()


@pytest.mark.parametrize(
    ("how", "kind"), [("dies", "target"), ("nan", "values"), ("dtype", "values"), ("shape", "values")]
)
def test_broken_target_fails(how: str, kind: str) -> None:
    report = verify(Side("a", None, net()), Side("b", Broken(net(), how)))
    assert not report.passed
    assert report.wrong is not None
    assert report.wrong.kind == kind
    with pytest.raises(ParityFailure):
        raise report.error()


def test_refusal_on_every_feed_proves_nothing() -> None:
    report = verify(Side("a", Broken(net(), "dies"), net()), Side("b", GraphRunner(net())))
    assert not report.passed


@pytest.mark.parametrize("fault", ["kernel-transposed", "epsilon-x10", "activation-dropped", "pad-wrong-side"])
@pytest.mark.parametrize("prefix_only", [False, True], ids=["all-values", "binary-search"])
def test_bisect_names_the_operator(fault: str, prefix_only: bool) -> None:
    source, target = net(), net()
    what = FAULTS[fault](target, np.random.default_rng(1))
    assert what is not None

    def writer(model: ir.Model) -> Side:
        """Makes the same fault again, as a faulty writer does."""
        if prefix_only and len(model.graph.outputs) > 1:
            raise RuntimeDied("too many outputs")
        copy = model.clone()
        for node in copy.graph:
            twin = next((n for n in target.graph if n.name == node.name), None)
            if twin is None:
                continue
            node.op_type = twin.op_type
            for key in twin.attributes:
                node.attributes[key] = twin.attributes[key]
            for index, value in enumerate(twin.inputs):
                if value is not None and value.const_value is not None and node.inputs[index].name != value.name:  # type: ignore[union-attr]
                    fresh = copy.graph.initializers.get(value.name or "")
                    if fresh is None:
                        fresh = ir.Value(
                            name=value.name, const_value=value.const_value, shape=value.shape, type=value.type
                        )
                        copy.graph.register_initializer(fresh)
                    node.replace_input_with(index, fresh)
                elif fault == "activation-dropped" and value is not None and node.inputs[index].name != value.name:  # type: ignore[union-attr]
                    node.replace_input_with(
                        index, next(v for n in copy.graph for v in n.outputs if v.name == value.name)
                    )
        return Side("again", GraphRunner(copy), None)

    report = verify(Side("a", None, source), Side("b", GraphRunner(target)), Options(writer=writer))
    assert not report.passed
    assert report.culprit, report.summary()
    if fault != "activation-dropped":
        assert report.culprit.split(" ")[0] == what.split(" ")[0]
        layer = what.split(" ")[1].split("/")[0]
        assert f"layer {layer} " in report.culprit


def _graph(shrink: float) -> ir.Model:
    """x * shrink + b."""
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["batch", 7]))
    held = [
        ir.Value(name=n, const_value=ir.tensor(a), shape=ir.Shape(a.shape), type=ir.TensorType(ir.DataType.FLOAT))
        for n, a in (("s", np.array(shrink, np.float32)), ("b", np.arange(1, 8, dtype=np.float32)))
    ]
    small = ir.node("Mul", [x, held[0]], name="small")
    total = ir.node("Add", [small.outputs[0], held[1]], name="total")
    for name, node in (("scaled", small), ("y", total)):
        node.outputs[0].name, node.outputs[0].dtype, node.outputs[0].shape = name, ir.DataType.FLOAT, x.shape
    graph = ir.Graph([x], total.outputs, nodes=[small, total], initializers=held, opset_imports={"": 25}, name="g")
    return ir.Model(graph, ir_version=10)


@pytest.mark.parametrize(("shrink", "warned"), [(1e-7, True), (0.5, False)])
def test_outputs_that_hardly_depend_on_the_inputs_are_told(shrink: float, warned: bool) -> None:
    report = verify(Side("a", None, _graph(shrink)), Side("b", None, _graph(shrink)))
    assert report.passed
    assert any("hardly depend" in n.what for n in report.notes) == warned


def test_index_output_may_differ_only_at_a_tie() -> None:
    def model(gap: float) -> ir.Model:
        b = Builder("net")
        x = b.input("x", ir.DataType.FLOAT, ("batch", 3))
        w = np.array([[1, 1, 0], [2, 2, 0], [3, 3, 0]], np.float32)
        w[1, 2] += np.float32(gap)
        y = b.op("MatMul", [x, b.weight("w", w)])
        b.output(b.op("ArgMax", [y], {"axis": 1, "keepdims": 0}), "choice")
        return b.model()

    twin = model(0.0)
    last = pick(twin, np.random.default_rng(0), "ArgMax")
    assert last is not None
    set_attr(last, "select_last_index", 1)
    assert verify(Side("a", None, model(0.0)), Side("b", GraphRunner(twin))).passed
    assert not verify(Side("a", None, model(0.0)), Side("b", GraphRunner(model(2.5)))).passed


def test_certificate_is_strict_and_reproducible(tmp_path: Path) -> None:
    texts = []
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        source, out = tmp_path / folder / "m.h5", tmp_path / folder / "m.tflite"
        source.write_bytes(b"abc")
        out.write_bytes(b"defg")
        report = verify(Side("m.h5", None, net()), Side("m.tflite", Broken(net(), "nan")))
        data = certificate(report, ([source], [out]), {"to": "tflite", "file": out})
        texts.append(certificate_text(data))
        assert certificate_path(out).name == "m.tflite.recast.json"
    assert texts[0] == texts[1]
    assert str(tmp_path) not in texts[0]
    loaded = json.loads(texts[0])
    assert loaded["verdict"] == "failed"
    assert loaded["outputs"][0]["size_bytes"] == 4

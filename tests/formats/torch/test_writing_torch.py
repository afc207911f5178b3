"""What the PyTorch writer makes: names, weights, training, files, and source that cannot be hijacked."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from recast._util.child import RemoteRunner
from recast.errors import BadModel, UnsafeModel, UnsupportedOp, UnsupportedType
from recast.formats._format import WriteOptions
from recast.formats.torch import FORMAT
from recast.formats.torch.run import Session
from recast.formats.torch.trust import made_here
from recast.formats.torch.write import write
from recast.formats.torch.writing._source import generate
from recast.formats.torch.writing._tree import Tree
from recast.graph.build import Builder
from recast.pipeline import prepare
from recast.recipe import Writing
from tests.formats.torch.torch_catalogue import CASES
from tests.formats.torch.torch_writing import compare, expected, feeds_of, floats, model_of, opened

torch = pytest.importorskip("torch")


def small_net(b: Builder, rng: np.random.Generator, dtype: type = np.float32) -> None:
    """Convolution, batch norm, residual block, dense: names as PyTorch gives them."""
    x = b.input("image", ir.DataType.from_numpy(np.dtype(dtype)), ("batch", 3, 13, 11))

    def weight(name: str, *shape: int) -> ir.Value:
        return b.weight(name, floats(rng, *shape).astype(dtype))

    with b.layer("layer1.0.conv1", "Conv2d"):
        y = b.op("Conv", [x, weight("layer1.0.conv1.weight", 5, 3, 3, 3)], {"pads": [1, 1, 1, 1]})
    with b.layer("layer1.0.bn1", "BatchNorm2d"):
        variance = b.weight("layer1.0.bn1.running_var", np.abs(floats(rng, 5)).astype(dtype) + dtype(0.5))
        roles = ("weight", "bias", "running_mean")
        y = b.op("BatchNormalization", [y, *(weight(f"layer1.0.bn1.{r}", 5) for r in roles), variance])
    with b.layer("layer1.0.relu", "ReLU"):
        z = b.op("Relu", [y])
    with b.layer("layer1.1.conv1", "Conv2d"):
        y = b.op("Conv", [z, weight("layer1.1.conv1.weight", 5, 5, 3, 3)], {"pads": [1, 1, 1, 1]})
    y = b.op("Add", [y, z])
    with b.layer("pool", "AdaptiveAvgPool2d"):
        y = b.op("GlobalAveragePool", [y])
    y = b.op("Reshape", [y, b.const([0, -1])])
    with b.layer("dense", "Dense"):
        y = b.op("Gemm", [y, weight("dense/kernel", 5, 7), weight("dense/bias", 7)])
    b.output(y, "scores")


NAMES = {
    "layer1.0.conv1.weight": (5, 3, 3, 3), "layer1.0.bn1.weight": (5,), "layer1.0.bn1.bias": (5,),
    "layer1.0.bn1.running_mean": (5,), "layer1.0.bn1.running_var": (5,), "layer1.0.bn1.num_batches_tracked": (),
    "layer1.1.conv1.weight": (5, 5, 3, 3), "dense.weight": (7, 5), "dense.bias": (7,),
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".py", ".pt", ".pth"])
def test_files_match_and_keep_names(suffix: str, tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(small_net, rng)
    session = opened(model, tmp_path, suffix)
    assert {k: tuple(v.shape) for k, v in session.model.state_dict().items()} == NAMES
    for batch in (1, 3):
        compare(model, session, feeds_of(model, rng, batch))


def test_state_dict_loads_weights_only(tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(small_net, rng)
    write(model, tmp_path / "net.pt", WriteOptions())
    state = torch.load(tmp_path / "net.pt", weights_only=True)
    assert {k: tuple(v.shape) for k, v in state.items()} == NAMES
    wanted = model.graph.initializers["dense/kernel"].const_value.numpy().T
    np.testing.assert_array_equal(state["dense.weight"].numpy(), wanted)


def test_same_input_same_bytes(tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(small_net, rng)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for suffix in (".py", ".pt"):
            write(model, tmp_path / name / f"net{suffix}", WriteOptions())
    for file in ("net.py", "net.pt", "net.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_half_precision(tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(lambda b, r: small_net(b, r, np.float16), rng)
    session = opened(model, tmp_path)
    assert session.model.dense.weight.dtype == torch.float16
    compare(model, session, feeds_of(model, rng, 3), 2e-2)


def test_bfloat16_weights(tmp_path: Path, rng: np.random.Generator) -> None:
    import ml_dtypes

    def build(b: Builder, r: np.random.Generator) -> None:
        w = b.weight("fc/kernel", floats(r, 5, 3).astype(ml_dtypes.bfloat16))
        b.output(b.op("MatMul", [b.input("x", ir.DataType.BFLOAT16, ("batch", 5)), w]), "y")

    session = opened(model_of(build, rng), tmp_path)
    x = rng.standard_normal((3, 5)).astype(ml_dtypes.bfloat16)
    result = session.run({"x": x})["y"]
    (weight,) = session.model.state_dict().values()
    kernel = weight.float().numpy().T
    np.testing.assert_allclose(result.astype("f4"), x.astype("f4") @ kernel, rtol=2e-2, atol=2e-2)
    assert result.dtype == ml_dtypes.bfloat16


def test_training_lowers_loss(tmp_path: Path, rng: np.random.Generator) -> None:
    session = opened(model_of(small_net, rng), tmp_path)
    net = session.model.train()
    assert len(list(net.parameters())) == 6
    x = torch.from_numpy(floats(rng, 7, 3, 13, 11))
    target = torch.from_numpy(rng.integers(0, 7, 7))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.05)
    losses = []
    for _ in range(4):
        loss = torch.nn.functional.cross_entropy(net(x), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


@pytest.mark.filterwarnings("ignore")  # torch.export warns about its own internals
def test_exported_program_of_shapes(tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(CASES["shape-reshape"], rng)
    session = opened(model, tmp_path)
    session.export({}, str(tmp_path / "net.pt2"))
    exported = Session(str(tmp_path / "net.pt2"), {"trust": True})
    for batch in (2, 5):
        compare(model, exported, feeds_of(model, rng, batch))


def test_exported_program_matches(tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(small_net, rng)
    artifact = FORMAT.write(model, tmp_path / "net.pt2", WriteOptions())
    assert [f.name for f in artifact.files] == ["net.pt2"]
    with FORMAT.open(tmp_path / "net.pt2") as runner:
        for batch in (1, 3):
            feeds = feeds_of(model, rng, batch)
            got = runner.run(feeds)["scores"]
            np.testing.assert_allclose(got, expected(model, feeds)["scores"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("suffix", [".py", ".PT2"])
def test_normalisations_are_folded_in_exported_programs_alone(
    suffix: str, tmp_path: Path, rng: np.random.Generator
) -> None:
    model = model_of(small_net, rng)
    feeds = feeds_of(model, rng, 3)
    wanted = expected(model, feeds)["scores"]
    prepare(model, FORMAT, Writing(), suffix)
    source = generate(model)
    keys = {e.key for e in source.entries}
    kept = suffix == ".py"
    assert ("nn.BatchNorm2d" in source.text) == kept
    assert {"layer1.0.conv1.weight", "layer1.1.conv1.weight"} <= keys
    assert ("layer1.0.bn1.running_var" in keys, "layer1.0.conv1.bias" in keys) == (kept, not kept)
    found = opened(model, tmp_path).run(feeds)["scores"]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


HOSTILE = (
    '"""\nimport os\nos.system("touch hijacked")\n"""', "x); raise SystemExit(3)  #", "class", "__import__('os')",
    "\\", "self", "forward", "é\u2028\nraise", "torch", "0", "a" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_stay_names(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    def build(b: Builder, r: np.random.Generator) -> None:
        x = b.input(name, ir.DataType.FLOAT, (name, 5))
        with b.layer(name, name):
            y = b.op("Gemm", [x, b.weight(f"{name}.weight", floats(r, 5, 3))])
            y = b.op("Mul", [y, b.weight(f"{name}/const", floats(r, 40, 1, 3))])
        b.output(y, f"{name} out")

    model = model_of(build, rng, name)
    tree = ast.parse(generate(model).text)
    kinds = [type(item).__name__ for item in tree.body]
    assert kinds == ["ImportFrom", "ImportFrom", "Import", "ImportFrom", "ImportFrom", "AnnAssign", "AnnAssign",
                     "ClassDef", "FunctionDef"]  # fmt: skip
    called = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    allowed = {
        "nn.ModuleDict",
        "super",
        "super().__init__",
        "nn.Linear",
        "nn.Parameter",
        "torch.empty",
        "Path",
        "load_file",
    }
    extra = {c for c in called - allowed if not c.startswith("self.") and not c.startswith(("Path(", "model."))}
    assert len(extra) <= 1  # the class itself
    feeds = {name: floats(rng, 2, 5)}
    session = opened(model, tmp_path)
    np.testing.assert_allclose(
        session.run(feeds)[f"{name} out"], expected(model, feeds)[f"{name} out"], rtol=1e-5, atol=1e-6
    )


def test_all_unsupported_in_one_error(rng: np.random.Generator) -> None:
    def build(b: Builder, r: np.random.Generator) -> None:
        x = b.input("x", ir.DataType.FLOAT, (3, 5))
        with b.layer("noise", "GaussianNoise"):
            y = b.op("RandomNormalLike", [x])
        with b.layer("draw", "Draw"):
            y = b.op("Bernoulli", [y])
        b.output(y, "y")

    with pytest.raises(UnsupportedOp, match="RandomNormalLike.*noise.*Bernoulli.*draw"):
        generate(model_of(build, rng))


def test_unsupported_type_is_named(rng: np.random.Generator) -> None:
    def build(b: Builder, r: np.random.Generator) -> None:
        b.output(b.op("Identity", [b.input("words", ir.DataType.STRING, (3,))]), "y")

    with pytest.raises(UnsupportedType, match="words"):
        generate(model_of(build, rng))


def test_foreign_code_is_not_executed(tmp_path: Path) -> None:
    trap = tmp_path / "net.py"
    trap.write_text("# Written by Recast 9\nraise SystemExit(3)\n")
    with pytest.raises(UnsafeModel):
        Session(str(trap), {"sha256": made_here()})
    with pytest.raises(UnsafeModel), RemoteRunner("recast.formats.torch.run", trap, {"sha256": made_here()}):
        pass


def test_changed_code_is_not_executed(tmp_path: Path, rng: np.random.Generator) -> None:
    write(model_of(small_net, rng), tmp_path / "net.py", WriteOptions())
    with open(tmp_path / "net.py", "a") as file:
        file.write("# changed\n")
    with pytest.raises(UnsafeModel):
        Session(str(tmp_path / "net.py"), {"sha256": made_here()})
    assert Session(str(tmp_path / "net.py"), {"trust": True}).inputs[0].name == "image"


def test_missing_source_is_named(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"PK")
    with pytest.raises(BadModel, match="not there"):
        Session(str(tmp_path / "net.pt"), {})


def test_session_measures_and_shows_layers(tmp_path: Path, rng: np.random.Generator) -> None:
    model = model_of(small_net, rng)
    session = opened(model, tmp_path)
    feeds = feeds_of(model, rng, 3)
    result, _ = session.latency(feeds, repeats=3)
    assert len(result) == 3
    assert min(result) > 0
    names, arrays = session.tensors(feeds)
    assert "layer1.0.conv1" in names
    assert arrays["layer1.0.conv1"].shape == (3, 5, 13, 11)


def test_a_module_below_a_module_gets_a_name_of_its_own() -> None:
    tree = Tree()
    paths = [tree.module(["words", "3"], "nn.Tanh()"), tree.module(["words", "3", "4"], "nn.Sigmoid()")]
    assert paths == [["words", "3"], ["words", "layer_3_4"]]
    shown = tree.resolve(" ".join(tree.access(path) for path in paths))
    assert shown == 'self.words["3"] self.words.layer_3_4'

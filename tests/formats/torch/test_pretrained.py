"""Hugging Face folders and torch.hub repositories: read by name, dynamic where they are, equal to their own runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from recast import formats
from recast.errors import BadModel, BadRecipe
from recast.formats._format import ReadOptions, WriteOptions
from recast.formats.torch.capture import Session
from recast.graph import LAYER
from recast.passes.normalise import normalise

HUBCONF = """\
dependencies = ["torch"]
import torch


def small():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.Tanh())


def broken():
    raise RuntimeError("no such luck")
"""


def captured(source: str, options: ReadOptions, folder: Path) -> tuple[Session, ir.Model]:
    """The child's session, in this process, and what it exports."""
    session = Session(source, {"inputs": dict(options.inputs), "weights": None})
    session.export({}, str(folder / "captured.onnx"))
    return session, normalise(ir.load(folder / "captured.onnx"), "captured")


def same(session: Session, model: ir.Model, feeds: dict[str, np.ndarray], path: Path) -> None:
    wanted = session.run(feeds)
    onnx = formats.by_name("onnx")
    onnx.write(model, path, WriteOptions())
    with onnx.open(path) as runner:
        got = runner.run(feeds)
    assert list(got) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=0, atol=2e-6 * max(1.0, float(np.abs(array).max())))


def dims(value: ir.Value) -> list[int | str | None]:
    return [d if isinstance(d, int) else d.value for d in value.shape or ()]


def test_a_language_model(tmp_path: Path, rng: np.random.Generator) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=101, n_positions=19, n_embd=12, n_layer=1, n_head=3)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt")
    assert formats.of_file(tmp_path / "gpt").name == "torch"
    session, model = captured(str(tmp_path / "gpt"), ReadOptions(), tmp_path)
    assert [v.name for v in model.graph.inputs] == ["input_ids", "attention_mask"]
    assert [dims(v) for v in model.graph.inputs] == [["batch", "sequence"]] * 2
    assert [v.name for v in model.graph.outputs] == ["logits"]
    assert any(n.metadata_props[LAYER].startswith("transformer.h.0.attn") for n in model.graph)
    tables = [v for v in model.graph.initializers.values() if v.shape == (101, 12)]
    assert len(tables) == 1, "the table and the head are one weight"
    for batch, length in ((1, 1), (2, 13), (3, 19)):
        ids = rng.integers(0, 101, (batch, length))
        same(session, model, {"input_ids": ids, "attention_mask": np.ones_like(ids)}, tmp_path / "a.onnx")


def test_an_image_model_of_a_given_size(tmp_path: Path, rng: np.random.Generator) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(embedding_size=5, hidden_sizes=[8], depths=[1], num_labels=3)
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path / "net")
    options = ReadOptions({"pixel_values": ("batch", 3, 37, 41)})
    session, model = captured(str(tmp_path / "net"), options, tmp_path)
    assert dims(model.graph.inputs[0]) == ["batch", 3, 37, 41]
    pixels = rng.standard_normal((3, 3, 37, 41)).astype(np.float32)
    same(session, model, {"pixel_values": pixels}, tmp_path / "a.onnx")


def test_a_hub_repository(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "hubconf.py").write_text(HUBCONF)
    session, model = captured(f"hub:{tmp_path}:small", ReadOptions({"#0": ("batch", 7)}), tmp_path)
    assert {n.metadata_props[LAYER] for n in model.graph} >= {"0", "1"}
    same(session, model, {"input": rng.standard_normal((5, 7)).astype(np.float32)}, tmp_path / "a.onnx")


def test_a_broken_hub_entry(tmp_path: Path) -> None:
    (tmp_path / "hubconf.py").write_text(HUBCONF)
    with pytest.raises(BadRecipe, match="no such luck"):
        Session(f"hub:{tmp_path}:broken", {"inputs": {"#0": (1, 7)}, "weights": None})


@pytest.mark.parametrize("config", ['{"model_type": "gpt2"}', '{"model_type": "nothing-known"}'])
def test_a_folder_that_does_not_load(config: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(BadModel, match="does not load"):
        Session(str(tmp_path), {"inputs": {}, "weights": None})


def test_code_in_a_folder_is_not_run(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    marker = tmp_path / "marker"
    told = '{"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}'
    (tmp_path / "config.json").write_text(told)
    (tmp_path / "own.py").write_text(f"open({str(marker)!r}, 'w')\n")
    with pytest.raises(BadModel, match="does not load"):
        Session(str(tmp_path), {"inputs": {}, "weights": None})
    assert not marker.exists()

"""Hugging Face folders and torch.hub repositories: read by name, dynamic where they are, equal to their own runtime."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from recast import formats
from recast.errors import BadModel, BadRecipe
from recast.formats._format import ReadOptions, WriteOptions
from recast.formats.torch import pieces
from recast.formats.torch.capture import Session
from recast.graph import LAYER
from recast.passes.normalise import normalise
from recast.pipeline import load
from recast.recipe import Reading

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


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers")
    sizes = {"d_model": 6, "encoder_layers": 1, "decoder_layers": 1, "max_source_positions": 7, "num_mel_bins": 5}
    heads = {f"{side}_attention_heads": 3 for side in ("encoder", "decoder")}
    hidden = {f"{side}_ffn_dim": 11 for side in ("encoder", "decoder")}
    tokens = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1)
    config = transformers.WhisperConfig(vocab_size=31, max_target_positions=29, **sizes, **heads, **hidden, **tokens)
    folder = tmp_path_factory.mktemp("whisper")
    transformers.WhisperForConditionalGeneration(config).save_pretrained(folder)
    return folder


def opened(folder: Path, task: str) -> Session:
    return Session(str(folder), {"inputs": {}, "weights": None, "task": task})


def test_a_decoder_with_its_cache(tmp_path: Path, rng: np.random.Generator) -> None:
    """One call with the whole text, and one call a token with the cache, say the same."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 12, "intermediate_size": 13, "num_attention_heads": 6, "num_key_value_heads": 2}
    config = transformers.LlamaConfig(vocab_size=31, num_hidden_layers=1, **sizes)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    session = opened(tmp_path / "llama", "text-generation-with-past")
    session.export({}, str(tmp_path / "captured.onnx"))
    model = normalise(ir.load(tmp_path / "captured.onnx"), "captured", told=True)
    shapes = {v.name: dims(v) for v in model.graph.inputs}
    assert shapes["attention_mask"] == ["batch", "past_sequence + sequence"]
    assert shapes["past_key_values.0.key"] == ["batch", 2, "past_sequence", 2]
    results = {v.name: dims(v) for v in model.graph.outputs}
    assert list(results) == ["logits", "present.0.key", "present.0.value"]
    assert results["present.0.key"] == ["batch", 2, "past_sequence + sequence", 2]
    ids = rng.integers(0, 31, (3, 5))
    past = {f"past_key_values.0.{role}": np.zeros((3, 2, 0, 2), np.float32) for role in ("key", "value")}
    places = np.tile(np.arange(5), (3, 1))
    whole = session.run({"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": places, **past})
    same(session, model, {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": places, **past},
         tmp_path / "a.onnx")  # fmt: skip
    for step in range(5):
        mask, now = np.ones((3, step + 1), np.int64), np.full((3, 1), step)
        said = session.run({"input_ids": ids[:, [step]], "attention_mask": mask, "position_ids": now, **past})
        past = {f"past_key_values.0.{role}": said[f"present.0.{role}"] for role in ("key", "value")}
        np.testing.assert_allclose(said["logits"][:, 0], whole["logits"][:, step], rtol=0, atol=1e-5)


def test_parts_of_an_encoder_and_decoder(whisper: Path, rng: np.random.Generator) -> None:
    """The encoder, the first call of the decoder and the next one say what the whole network says."""
    whole, encoder = opened(whisper, ""), opened(whisper, "encoder")
    first, later = opened(whisper, "decoder"), opened(whisper, "decoder-with-past")
    sound, ids = rng.standard_normal((2, 5, 14)).astype(np.float32), rng.integers(0, 31, (2, 4))
    wanted = whole.run({"input_features": sound, "decoder_input_ids": ids})["logits"]
    hidden = encoder.run({"input_features": sound})["last_hidden_state"]
    said = first.run({"input_ids": ids[:, :3], "encoder_hidden_states": hidden})
    np.testing.assert_allclose(said["logits"], wanted[:, :3], rtol=0, atol=1e-5)
    past = {n.replace("present", "past_key_values"): a for n, a in said.items() if n.startswith("present")}
    assert [s.name for s in later.inputs] == ["input_ids", *past]
    last = later.run({"input_ids": ids[:, 3:], **past})
    assert [s.name for s in later.outputs] == ["logits", "present.0.decoder.key", "present.0.decoder.value"]
    np.testing.assert_allclose(last["logits"][:, 0], wanted[:, 3], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("task", "said"), [("translation", "no task"), ("text-generation-with-past", "not for it")])
def test_a_task_that_does_not_fit(whisper: Path, task: str, said: str) -> None:
    with pytest.raises(BadRecipe, match=said):
        opened(whisper, task)


def test_a_task_is_for_folders(tmp_path: Path) -> None:
    (tmp_path / "hubconf.py").write_text(HUBCONF)
    with pytest.raises(BadRecipe, match="Hugging Face folder"):
        load(f"hub:{tmp_path}:small", Reading(task="encoder"))


def test_losses_do_not_bring_scipy() -> None:
    """They alone want it at import; whoever looks for it later finds it."""
    pytest.importorskip("scipy")
    program = """
import sys, transformers
from recast.formats.torch.pretrained import _import_losses
_import_losses(transformers)
import transformers.loss.loss_utils
assert "scipy" not in sys.modules
assert transformers.utils.is_scipy_available()
import scipy.optimize
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, capture_output=True)


@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_large_weights_are_written_in_pieces(order: str, tmp_path: Path, rng: np.random.Generator) -> None:
    array = rng.standard_normal((1009, 2003 * 2 if order == "strided" else 2003)).astype(np.float32)
    array = array[:, ::2] if order == "strided" else np.asfortranarray(array) if order == "F" else array
    tensor = pieces.Pieces(array, name="w")
    with open(tmp_path / "w", "wb") as file:
        file.write(b"head")
        tensor.tofile(file)
        file.write(b"tail")
    assert array.nbytes > pieces.PIECE_BYTES
    assert (tmp_path / "w").read_bytes() == b"head" + np.ascontiguousarray(array).tobytes() + b"tail"

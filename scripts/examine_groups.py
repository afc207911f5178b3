"""Examine structured pruning on whole networks: with readers' entries at zero, cutting the units changes nothing.

    python scripts/examine_groups.py MODEL [MODEL …]
    python scripts/examine_groups.py --transformers              # BERT, GPT-2, ViT and more, small, random weights
    python scripts/examine_groups.py --applications [NAME,NAME]  # keras.applications, all or some, random weights

For each model: the groups, the share of weights left after cutting random units of every group, and the largest
difference of the outputs (of their scale) between the cut network and the one whose readers were set to zero. Hidden
sizes are examined apart (``NAME, hidden``), against the network whose normalisations count only what stays.
``benchmarks/results/groups.json`` keeps the latest row of each network.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
warnings.simplefilter("ignore")

from _bench import RESULTS, save  # noqa: E402
from tests.compression.test_groups import outputs, size, some, zeroed  # noqa: E402
from tests.compression.test_hidden import masked  # noqa: E402

import recast  # noqa: E402
from recast import passes  # noqa: E402
from recast.compression._method import Plan  # noqa: E402
from recast.compression.apply import apply  # noqa: E402
from recast.compression.groups import Groups, find  # noqa: E402
from recast.compression.prune.structured import OPTIONS, PASSES  # noqa: E402
from recast.graph.view import dims  # noqa: E402

NARROW = {"ConvNeXtLarge": 4, "ConvNeXtXLarge": 4}  # times fewer channels: whole, they take gigabytes
ALLOWED = 1e-3  # of the outputs' scale, float32 in ONNX Runtime: deep networks add rounding up
TEXT = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 23}
TOKENS = 37


def _bert(t: Any) -> Any:
    return t.BertForMaskedLM(t.BertConfig(vocab_size=TOKENS, max_position_embeddings=29, **TEXT))


def _distilbert(t: Any) -> Any:
    config = t.DistilBertConfig(
        vocab_size=TOKENS, max_position_embeddings=29, dim=12, n_layers=2, n_heads=3, hidden_dim=23
    )
    return t.DistilBertForSequenceClassification(config)


def _gpt2(t: Any) -> Any:
    return t.GPT2LMHeadModel(t.GPT2Config(vocab_size=TOKENS, n_positions=29, n_embd=12, n_layer=2, n_head=3))


def _llama(t: Any) -> Any:
    heads = {"head_dim": 4, "num_key_value_heads": 1, "tie_word_embeddings": True}
    return t.LlamaForCausalLM(t.LlamaConfig(vocab_size=TOKENS, max_position_embeddings=29, **TEXT, **heads))


def _vit(t: Any) -> Any:
    return t.ViTForImageClassification(t.ViTConfig(image_size=21, patch_size=7, num_labels=5, num_channels=3, **TEXT))


def _convnext(t: Any) -> Any:
    config = t.ConvNextConfig(hidden_sizes=[7, 13], depths=[2, 1], num_stages=2, patch_size=4, num_labels=5)
    return t.ConvNextForImageClassification(config)


MAKERS: dict[str, Callable[[Any], Any]] = {
    "BERT": _bert, "DistilBERT": _distilbert, "GPT-2": _gpt2, "Llama": _llama, "ViT": _vit,
    "ConvNeXt": _convnext,
}  # fmt: skip


def transformers_nets(folder: Path) -> Iterator[tuple[str, Path]]:
    """Folders of small networks of ``transformers``."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.manual_seed(7)
    for name, make in MAKERS.items():
        made = make(transformers)
        with torch.no_grad():
            for parameter in made.parameters():
                spread = 0.3 if parameter.dim() < 2 else (1.0 / parameter[0].numel()) ** 0.5
                parameter.add_(torch.randn(parameter.shape) * spread)
        made.save_pretrained(folder / name)
        yield name, folder / name


def applications(names: list[str], folder: Path) -> Iterator[tuple[str, Path]]:
    """Files of ``keras.applications``, each made when it is wanted and removed afterwards."""
    for name in names:
        maker, thinner = ROOT / "benchmarks" / "applications.py", f"/{NARROW[name]}" if name in NARROW else ""
        made = [sys.executable, str(maker), name + thinner, str(folder), ".keras"]
        subprocess.run(made, check=True, capture_output=True)
        yield name + thinner, folder / f"{name}.keras"
        for file in folder.glob(f"{name}.*"):
            file.unlink()


def feeds(model: ir.Model, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random inputs: numbers, or token ids; masks let everything through."""
    made = {}
    for value in model.graph.inputs:
        name = value.name or ""
        shape = [
            d if isinstance(d, int) else 2 if "batch" in str(d) or not n else 11 for n, d in enumerate(dims(value))
        ]
        dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
        if dtype.kind == "f":
            made[name] = (3 * rng.standard_normal(shape)).astype(dtype)
        else:
            made[name] = (
                np.ones(shape) if "mask" in name else rng.integers(0, 2 if "type" in name else TOKENS, shape)
            ).astype(dtype)
    return made


def examine(model: ir.Model, groups: Groups) -> dict[str, Any]:
    """Groups, units, share of the weights left, largest difference."""
    rng = np.random.default_rng(7)
    gone = some(groups, rng, 0.7 if groups.stream else 1.0)
    small = apply(model, Plan("cut", tuple(groups.edits(gone))))
    given = feeds(model, rng)
    worst = 0.0
    whole = outputs(model, given)
    heard = [not np.array_equal(a, b) for a, b in zip(whole, outputs(small, given), strict=True)]
    assert not gone or any(heard), "the cut is not heard at all: nothing would be seen"
    zero = masked if groups.stream else zeroed
    for wanted, found in zip(outputs(zero(model, groups, gone), given), outputs(small, given), strict=True):
        assert wanted.shape == found.shape
        assert np.isfinite(wanted).all(), "the outputs are no numbers: nothing would be seen"
        scale = float(np.abs(wanted).max()) or 1.0
        worst = max(worst, float(np.abs(found - wanted).max()) / scale)
    units = sum(len(g.units) for g in groups.groups)
    verdict = "equal" if worst <= ALLOWED and gone else "DIFFERENT" if gone else "nothing can be cut"
    left = size(small) / max(1, size(model))
    return {"groups": len(groups.groups), "units": units, "left": left, "difference": worst, "verdict": verdict}


def examined(name: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """One network: its groups, and its hidden sizes if it has any."""
    model = recast.load(str(path))
    passes.run(model, PASSES, OPTIONS)
    for place, output in enumerate(model.graph.outputs):
        last = output.producer()
        if last is not None and last.op_type in ("Softmax", "Sigmoid") and last.inputs[0] is not None:
            model.graph.outputs[place] = last.inputs[0]  # saturated, it would hide every difference
    yield name, examine(model, find(model))
    hidden = find(model, stream=True)
    if hidden.groups:
        yield f"{name}, hidden", examine(model, hidden)


def chosen(folder: Path) -> Iterator[tuple[str, Path]]:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--transformers", action="store_true")
    parser.add_argument("--applications", nargs="?", const="", default=None, metavar="NAME,NAME")
    given = parser.parse_args()
    yield from ((path.name, path) for path in given.models)
    if given.transformers:
        yield from transformers_nets(folder)
    if given.applications is not None:
        from applications import NAMES

        yield from applications(given.applications.split(",") if given.applications else NAMES, folder)


def main() -> int:
    """Exit code 1 where a cut changed the outputs."""
    kept = RESULTS / "groups.json"
    rows: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else {}
    bad = count = 0
    with tempfile.TemporaryDirectory(prefix="recast-groups-") as folder:
        for name, row in (found for net in chosen(Path(folder)) for found in examined(*net)):
            bad, count = bad + (row["verdict"] != "equal"), count + 1
            rows[name] = row
            save("groups", rows)
            print("{:28s} {:5d} groups {:7d} units {:6.1%} left {:9.1e} {}".format(name, *row.values()), flush=True)
    print(f"{count - bad} of {count} equal")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())

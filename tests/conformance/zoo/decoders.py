"""Decoders with their caches, and their encoders: GPT-2, Llama, T5, Whisper of ``transformers``.

Each is a task of a Hugging Face folder (``recast convert FOLDER OUT --task ...``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import Model, seeded

_GENERATION = "text-generation-with-past"
_PARTS = ("encoder", "decoder", "decoder-with-past")
_TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def _gpt2(transformers: Any) -> Any:
    config = transformers.GPT2Config(vocab_size=101, n_positions=37, n_embd=15, n_layer=2, n_head=3, **_TOKENS)
    return transformers.GPT2LMHeadModel(config)


def _llama(transformers: Any) -> Any:
    """Six heads of queries share two of keys and values; rotary positions."""
    sizes = {"hidden_size": 30, "intermediate_size": 37, "head_dim": 10, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=101, **sizes, **heads, **_TOKENS))


def _t5(transformers: Any) -> Any:
    """Relative positions as a bias that is added to the scores; tied tables."""
    sizes = {"d_model": 15, "d_kv": 7, "d_ff": 37, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 3}
    places = {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 13}
    config = transformers.T5Config(vocab_size=101, decoder_start_token_id=0, **sizes, **places)
    return transformers.T5ForConditionalGeneration(config)


def _whisper(transformers: Any) -> Any:
    sizes = {"d_model": 18, "encoder_layers": 2, "decoder_layers": 2, "num_mel_bins": 11}
    heads = {"encoder_attention_heads": 3, "decoder_attention_heads": 3}
    hidden = {"encoder_ffn_dim": 37, "decoder_ffn_dim": 41}
    lengths = {"max_source_positions": 19, "max_target_positions": 31}
    config = transformers.WhisperConfig(
        vocab_size=101, decoder_start_token_id=1, **sizes, **heads, **hidden, **lengths, **_TOKENS
    )
    return transformers.WhisperForConditionalGeneration(config)


def _parts(name: str, build: Callable[[Any], Any]) -> dict[str, Model]:
    return {f"{name}-{task}": Model(seeded(build), task=task) for task in _PARTS}


MODELS: dict[str, Model] = {
    "gpt2": Model(seeded(_gpt2), task=_GENERATION),
    "llama": Model(seeded(_llama), task=_GENERATION),
    **_parts("t5", _t5),
    **_parts("whisper", _whisper),
}

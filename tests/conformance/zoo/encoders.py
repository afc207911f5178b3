"""Encoders: BERT, ViT, CLIP, ConvNeXt, Swin of ``transformers``, and a detector with boxes and NMS in plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import Model, seeded

_TEXT = {"hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 23}
_VISION = {**_TEXT, "num_channels": 3}


def _bert(transformers: Any) -> Any:
    return transformers.BertModel(transformers.BertConfig(vocab_size=101, max_position_embeddings=37, **_TEXT))


def _vit(transformers: Any) -> Any:
    config = transformers.ViTConfig(image_size=[35, 21], patch_size=7, num_labels=5, **_VISION)
    return transformers.ViTForImageClassification(config)


def _clip_parts(transformers: Any) -> tuple[Any, Any]:
    text = transformers.CLIPTextConfig(vocab_size=101, max_position_embeddings=29, eos_token_id=2, **_TEXT)
    vision = transformers.CLIPVisionConfig(image_size=28, patch_size=7, projection_dim=17, **_VISION)
    text.projection_dim = 17
    return text, vision


def _clip_text(transformers: Any) -> Any:
    return transformers.CLIPTextModelWithProjection(_clip_parts(transformers)[0])


def _clip_vision(transformers: Any) -> Any:
    return transformers.CLIPVisionModelWithProjection(_clip_parts(transformers)[1])


def _clip(transformers: Any) -> Any:
    text, vision = _clip_parts(transformers)
    return transformers.CLIPModel(
        transformers.CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=17)
    )


def _convnext(transformers: Any) -> Any:
    config = transformers.ConvNextConfig(hidden_sizes=[7, 13], depths=[2, 1], num_stages=2, patch_size=4, num_labels=5)
    return transformers.ConvNextForImageClassification(config)


def _swin(transformers: Any) -> Any:
    config = transformers.SwinConfig(
        image_size=[26, 34], patch_size=2, embed_dim=6, depths=[2, 2], num_heads=[2, 3], window_size=3, num_labels=5
    )
    return transformers.SwinForImageClassification(config)


def _detector(_transformers: Any) -> Any:
    from ._detector import Detector

    return Detector()


def _tokens(vocabulary: int, *names: str) -> Callable[[], dict[str, Any]]:
    """Token ids with a mask (the second sequence is shorter) of size 2 × 11."""

    def make() -> dict[str, Any]:
        import torch

        generator = torch.Generator().manual_seed(2)
        ids = torch.randint(3, vocabulary, (2, 11), generator=generator)
        ids[:, -1] = 2
        mask = torch.ones(2, 11, dtype=torch.int64)
        mask[1, 7:] = 0
        made = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.cumsum(mask, 1) % 2}
        return {name: made[name] for name in names}

    return make


def _image(height: int, width: int) -> Callable[[], dict[str, Any]]:
    def make() -> dict[str, Any]:
        import torch

        return {"pixel_values": torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(2))}

    return make


def _pictures_and_words() -> dict[str, Any]:
    import torch

    words = _tokens(101, "input_ids", "attention_mask")()
    pixels = torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(2))
    return {"input_ids": words["input_ids"], "pixel_values": pixels, "attention_mask": words["attention_mask"]}


_WORDS = {0: "batch", 1: "sequence"}
_BERT = ("input_ids", "attention_mask", "token_type_ids")
_MASKED = ("input_ids", "attention_mask")
_ANY_SIZE = {"pixel_values": {0: "batch", 2: "height", 3: "width"}}

MODELS = {
    "bert": Model(seeded(_bert), _tokens(101, *_BERT), dict.fromkeys(_BERT, _WORDS)),
    "vit": Model(seeded(_vit), _image(35, 21), {"pixel_values": {0: "batch"}}),
    "clip_text": Model(seeded(_clip_text), _tokens(101, *_MASKED), dict.fromkeys(_MASKED, _WORDS)),
    "clip_vision": Model(seeded(_clip_vision), _image(28, 28), {"pixel_values": {0: "batch"}}),
    "clip": Model(
        seeded(_clip), _pictures_and_words, {**dict.fromkeys(_MASKED, _WORDS), "pixel_values": {0: "images"}}
    ),
    "convnext": Model(seeded(_convnext), _image(67, 43), _ANY_SIZE),
    "swin": Model(seeded(_swin), _image(26, 34)),  # torch.export cannot keep its batch dynamic
    "detector": Model(seeded(_detector), _image(64, 96), _ANY_SIZE),
    "detector_sized": Model(seeded(_detector), _image(64, 96), {"pixel_values": {0: "batch"}}),
}

"""Functional models: several inputs and outputs, shared and nested layers, merges, attention, operations."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.formats.keras.reading_judge import agree, randomise

keras = pytest.importorskip("keras", exc_type=ImportError)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from keras import layers as L  # noqa: N812
    from keras import ops

GRAPHS: dict[str, Callable[[], Any]] = {}


def graph(make: Callable[[], Any]) -> Callable[[], Any]:
    """Register a model under its function's name."""
    GRAPHS[make.__name__.replace("_", "-")] = make
    return make


def _in(*shape: int | None, name: str | None = None) -> Any:
    return keras.Input(shape, name=name)


@graph
def merges() -> Any:
    a, b = _in(7, 5), _in(7, 5)
    joined = [L.Add()([a, b, a]), L.Subtract()([a, b]), L.Multiply()([a, b]), L.Average()([a, b])]
    joined += [L.Maximum()([a, b]), L.Minimum()([a, b]), L.Concatenate(axis=1)([a, b]), L.Concatenate()([a, b])]
    return keras.Model([a, b], joined)


@graph
def merge_ranks() -> Any:
    a, b = _in(7, 5), _in(7)
    return keras.Model([a, b], L.Add()([L.Permute((2, 1))(a), b]))


@graph
def dots() -> Any:
    a, b, v, w = _in(7, 5), _in(3, 5), _in(5), _in(5)
    made = [L.Dot(2)([a, b]), L.Dot((1, 1))([L.Permute((2, 1))(a), L.Permute((2, 1))(b)]), L.Dot(1)([v, w])]
    made += [L.Dot(1, normalize=True)([v, w]), L.Dot((2, 1))([a, v])]
    return keras.Model([a, b, v, w], made)


@graph
def shared_layer() -> Any:
    a, b = _in(7), _in(7)
    dense = L.Dense(7, "tanh")
    x, y = dense(a), dense(b)
    return keras.Model([a, b], [dense(x), L.Subtract()([x, y]), y])


@graph
def shared_at_depths() -> Any:
    a = _in(11, 7, 3)
    conv, norm = L.Conv2D(3, 3, padding="same"), L.BatchNormalization()
    return keras.Model(a, norm(conv(norm(conv(a)))))


@graph
def nested_models() -> Any:
    x = _in(11, 7, 3)
    inner = keras.Sequential([_in(11, 7, 3), L.Conv2D(5, 3), L.BatchNormalization(), L.ReLU()], name="body")
    inner.layers[0].trainable = False
    a, b = _in(9, 5, 5), _in(9, 5, 5)
    head = keras.Model([a, b], [L.Add()([L.Conv2D(2, 1)(a), L.Conv2D(2, 1, use_bias=False)(b)]), L.Flatten()(b)])
    y = inner(x)
    first, flat = head([y, inner(L.ReLU()(x))])
    second, _ = head([y, y])
    return keras.Model(x, [L.Multiply()([first, second]), flat])


@graph
def nested_twice() -> Any:
    inner = keras.Sequential([_in(7), L.Dense(7, trainable=False), L.BatchNormalization()])
    a = _in(7)
    middle = keras.Model(a, L.Add()([inner(a), L.Dense(7)(inner(L.Dense(7)(a)))]))
    b = _in(7)
    return keras.Model(b, middle(middle(b)))


@graph
def nested_is_the_output() -> Any:
    a = _in(7)
    inner = keras.Model(a, [L.Dense(5)(a), L.Dense(3)(a)])
    b = _in(7)
    return keras.Model(b, inner(L.Dense(7)(b)))


@graph
def nested_sequential_output() -> Any:
    b = _in(7)
    return keras.Model(b, keras.Sequential([_in(7), L.Dense(7), L.Dense(3)])(L.Dense(7)(b)))


@graph
def sequential_of_models() -> Any:
    body = keras.Sequential([_in(11, 7, 3), L.Conv2D(5, 3), L.Conv2D(3, 3)])
    a = _in(7, 3, 3)
    return keras.Sequential([body, keras.Model(a, L.Flatten()(a)), L.Dense(3, "softmax")])


@graph
def embedding_text() -> Any:
    ids = _in(11, name="ids")
    x = L.Embedding(13, 5)(ids)
    return keras.Model(ids, L.Dense(3)(L.Bidirectional(L.LSTM(5))(L.Conv1D(7, 3, padding="causal")(x))))


@graph
def masked_average() -> Any:
    ids = _in(11)
    return keras.Model(
        ids, L.Dense(3)(L.GlobalAveragePooling1D()(L.Dropout(0.1)(L.Embedding(3, 5, mask_zero=True)(ids))))
    )


@graph
def unused_mask() -> Any:
    x = _in(11, 5)
    return keras.Model(x, L.Dense(3)(L.Flatten()(L.Masking(0.0)(x))))


@graph
def recurrent_states() -> Any:
    x, y = _in(11, 5), _in(7, 5)
    out, h, c = L.LSTM(3, return_state=True, return_sequences=True)(x)
    dec = L.LSTM(3, return_sequences=True)(y, initial_state=[h, c])
    gru, state = L.GRU(3, return_state=True)(y, initial_state=h)
    both = L.Bidirectional(L.GRU(2, return_state=True, return_sequences=True))(x)
    return keras.Model([x, y], [out, dec, gru, state, *both])


@graph
def multi_head_self() -> Any:
    x = _in(11, 6)
    y = L.LayerNormalization()(L.Add()([x, L.MultiHeadAttention(2, 3, dropout=0.1)(x, x)]))
    return keras.Model(x, L.Add()([y, L.Dense(6)(L.Dense(13, "gelu")(y))]))


@graph
def multi_head_cross() -> Any:
    q, v, k = _in(11, 6), _in(7, 5), _in(7, 3)
    y, scores = L.MultiHeadAttention(2, 3, value_dim=5, use_bias=False)(q, v, k, return_attention_scores=True)
    z = L.MultiHeadAttention(3, 2, output_shape=7)(q, value=q, use_causal_mask=True)
    return keras.Model([q, v, k], [y, scores, z])


@graph
def attentions() -> Any:
    q, v, k = _in(11, 6), _in(7, 5), _in(7, 6)
    made = [L.Attention()([q, v, k]), L.Attention(use_scale=True, score_mode="concat")([q, v, k])]
    made += [L.Attention(use_scale=True)([q, k]), L.AdditiveAttention()([q, v, k])]
    return keras.Model([q, v, k], [*made, L.AdditiveAttention(use_scale=False)([q, k])])


@graph
def arithmetic() -> Any:
    x, y = _in(7, 5), _in(7, 5)
    made = [x + y, 2.0 * x - 1.5, 1.0 - x, x / (ops.abs(y) + 1.0), ops.exp(-x), ops.sqrt(ops.square(x) + 0.1)]
    made += [ops.maximum(x, 0.3), ops.minimum(x, y), ops.power(ops.abs(x), 1.5), ops.clip(x, -0.3, 0.7), ops.tanh(y)]
    made += [ops.rsqrt(ops.square(x) + 1.0), ops.log(ops.abs(y) + 1.0), ops.sign(x) * y, ops.floor(x)]
    return keras.Model([x, y], made)


@graph
def activations_as_operations() -> Any:
    x = _in(7, 5)
    made = [ops.relu(x), ops.relu6(x), ops.sigmoid(x), ops.silu(x), ops.gelu(x), ops.gelu(x, approximate=False)]
    made += [ops.softmax(x, axis=1), ops.leaky_relu(x, 0.1), ops.elu(x), ops.selu(x), ops.hard_sigmoid(x)]
    return keras.Model(x, [*made, ops.log_softmax(x), ops.softplus(x), ops.hard_silu(x)])


@graph
def reductions() -> Any:
    x = _in(7, 5, 3)
    made = [ops.mean(x, axis=1), ops.sum(x, axis=(1, 2), keepdims=True), ops.max(x, axis=-1), ops.min(x, axis=2)]
    made += [ops.var(x, axis=1), ops.std(x, axis=[1, 2]), ops.prod(x, axis=3), ops.logsumexp(x, axis=1)]
    return keras.Model(x, [*made, ops.cast(ops.argmax(x, axis=2), "float32"), ops.normalize(x, axis=1)])


@graph
def moving_elements() -> Any:
    x = _in(7, 6, 3)
    made = [x[:, 1:-1, ::2], x[:, 0], x[..., -1], x[:, None, :, 2], x[:, ::-1]]
    made += [ops.transpose(x, (0, 3, 1, 2)), ops.reshape(x, (-1, 42, 3)), ops.expand_dims(x, 2), ops.swapaxes(x, 1, 2)]
    made += [ops.concatenate([x, x], axis=2), ops.stack([x, x], axis=1), ops.pad(x, ((0, 0), (1, 2), (0, 0), (3, 0)))]
    made += [*ops.split(x, 3, axis=2), ops.flip(x, axis=1), ops.repeat(x, 2, axis=1), ops.tile(x, (1, 2, 1, 1))]
    made += [ops.squeeze(x[:, :1], axis=1), ops.moveaxis(x, 1, 3), ops.take(x, [2, 0], axis=3)]
    return keras.Model(x, made)


@graph
def matrices() -> Any:
    x, y = _in(7, 5), _in(5, 3)
    made = [ops.matmul(x, y), x @ y, ops.einsum("bij,bjk->bik", x, y)]
    return keras.Model([x, y], [*made, ops.where(x > 0.1, x, 0.0)])


@graph
def resized_image() -> Any:
    x = _in(11, 7, 3)
    return keras.Model(x, [ops.image.resize(x, (13, 5)), ops.image.resize(x, (5, 17), interpolation="nearest")])


@graph
def attention_mask() -> Any:
    x, m = _in(5, 6), _in(5, 5)
    y = L.MultiHeadAttention(2, 3)(x, x, attention_mask=m > 0.0)
    return keras.Model([x, m], y)


@graph
def dynamic_size() -> Any:
    x = _in(None, None, 3)
    y = L.UpSampling2D(2)(L.MaxPooling2D(2, padding="same")(L.Conv2D(5, 3, padding="same")(x)))
    return keras.Model(x, [y, L.GlobalAveragePooling2D()(y)])


@graph
def outputs_named_alike() -> Any:
    x = _in(7, name="x")
    dense = L.Dense(7, name="out")
    return keras.Model(x, {"b": dense(x), "a": dense(dense(x)), "c": x})


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.filterwarnings("ignore")
def test_graph(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    keras.utils.clear_session()
    model = GRAPHS[name]()
    randomise(model, rng)
    feeds = [rng.normal(0, 1, [3, *[d or 9 for d in i.shape[1:]]]).astype(np.float32) for i in model.inputs]
    if name in ("embedding-text", "masked-average"):
        feeds = [rng.integers(0, 3, (3, 11)).astype(np.float32)]
    agree(model, feeds, tmp_path)

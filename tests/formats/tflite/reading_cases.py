"""Single operators as TensorFlow functions: (id, function, inputs). An input is a shape, or the array to feed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Case = tuple[str, Callable[..., Any], list[Any]]


def _kernel(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def images(tf: Any) -> list[Case]:
    """Convolutions, pooling, resizing, blocks."""
    nn, raw = tf.nn, tf.raw_ops
    x = (2, 11, 7, 3)
    bias = _kernel(5)
    cases: list[Case] = [
        ("conv-same-stride2", lambda v: nn.conv2d(v, _kernel(3, 2, 3, 5), (2, 1), "SAME"), [x]),
        ("conv-valid-relu6", lambda v: nn.relu6(nn.conv2d(v, _kernel(3, 2, 3, 5), 1, "VALID") + bias), [x]),
        ("conv-dilated-same", lambda v: nn.conv2d(v, _kernel(3, 3, 3, 5), 1, "SAME", dilations=2), [x]),
        ("conv-grouped", lambda v: nn.conv2d(v, _kernel(3, 3, 2, 6), 1, "SAME"), [(1, 11, 7, 4)]),
        ("conv-dynamic-batch", lambda v: nn.relu(nn.conv2d(v, _kernel(3, 2, 3, 5), 2, "SAME")), [(None, 11, 7, 3)]),
        ("conv1d-same", lambda v: nn.conv1d(v, _kernel(3, 3, 5), 2, "SAME"), [(2, 11, 3)]),
        ("depthwise-multiplier2", lambda v: nn.depthwise_conv2d(v, _kernel(3, 2, 3, 2), [1, 2, 2, 1], "SAME"), [x]),
        ("depthwise-valid", lambda v: nn.depthwise_conv2d(v, _kernel(3, 2, 3, 1), [1, 1, 1, 1], "VALID"), [x]),
        (
            "transpose_conv-same",
            lambda v: nn.conv2d_transpose(v, _kernel(3, 3, 5, 3), (2, 21, 14, 5), 2, "SAME") + bias,
            [x],
        ),
        (
            "transpose_conv-valid",
            lambda v: nn.conv2d_transpose(v, _kernel(3, 2, 5, 3), (2, 23, 14, 5), 2, "VALID"),
            [x],
        ),
        ("conv3d-same", lambda v: nn.conv3d(v, _kernel(3, 2, 3, 3, 5), [1, 1, 2, 1, 1], "SAME"), [(1, 5, 7, 4, 3)]),
        ("avg_pool-same", lambda v: nn.avg_pool2d(v, (3, 2), 2, "SAME"), [x]),
        ("avg_pool-valid", lambda v: nn.avg_pool2d(v, (3, 2), (1, 2), "VALID"), [x]),
        ("max_pool-same", lambda v: nn.max_pool2d(v, (3, 3), 2, "SAME"), [x]),
        ("l2_normalize-channels", lambda v: nn.l2_normalize(v, -1), [x]),
        (
            "resize-dynamic-batch",
            lambda v: tf.reduce_mean(raw.ResizeBilinear(images=v, size=(7, 9), half_pixel_centers=True), [1, 2]),
            [(None, 5, 3, 4)],
        ),
        ("lrn-radius2", lambda v: nn.lrn(v, 2, 1.5, 0.3, 0.7), [(2, 5, 3, 11)]),
        ("batch_norm-unfused", lambda v: v * _kernel(3) + _kernel(3), [x]),
        ("depth_to_space-2", lambda v: nn.depth_to_space(v, 2), [(2, 3, 5, 12)]),
        ("space_to_depth-2", lambda v: nn.space_to_depth(v, 2), [(2, 6, 10, 3)]),
        ("space_to_batch-pad", lambda v: tf.space_to_batch(v, [2, 3], [[1, 0], [0, 2]]), [x]),
        ("batch_to_space-crop", lambda v: tf.batch_to_space(v, [2, 3], [[1, 0], [0, 2]]), [(12, 4, 3, 5)]),
    ]
    for name, half, corners in (("half", True, False), ("corners", False, True), ("plain", False, False)):
        for kind, op in (("bilinear", raw.ResizeBilinear), ("nearest", raw.ResizeNearestNeighbor)):
            for size in ((23, 17), (5, 3)):
                cases.append(
                    (
                        f"resize_{kind}-{name}-{size[0]}",
                        lambda v, op=op, size=size, half=half, corners=corners: op(
                            images=v, size=size, half_pixel_centers=half, align_corners=corners
                        ),
                        [x],
                    )
                )
    return cases


def elements(tf: Any) -> list[Case]:
    """Functions of single elements, with and without broadcasting."""
    nn, math = tf.nn, tf.math
    a, b = (2, 3, 5), (3, 1)
    positive = np.abs(_kernel(2, 3, 5)) + 0.1
    unary = {
        "abs": tf.abs, "ceil": math.ceil, "cos": tf.cos, "exp": tf.exp, "floor": tf.floor, "neg": tf.negative,
        "round": tf.round, "sign": tf.sign, "sin": tf.sin, "relu": nn.relu, "relu6": nn.relu6, "tanh": tf.tanh,
        "logistic": tf.sigmoid, "elu": nn.elu, "square": tf.square, "gelu": lambda v: nn.gelu(v, False),
        "gelu_tanh": lambda v: nn.gelu(v, True), "leaky_relu": lambda v: nn.leaky_relu(v, 0.3),
        "hard_swish": lambda v: v * nn.relu6(v + 3.0) * (1 / 6), "softmax": nn.softmax, "log_softmax": nn.log_softmax,
        "zeros_like": lambda v: tf.zeros_like(v) + v, "clip": lambda v: nn.relu6(v - 1.0),
        "prelu": lambda v: nn.relu(v) + np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32) * -nn.relu(-v),
    }  # fmt: skip
    cases: list[Case] = [(f"{name}-float", function, [a]) for name, function in unary.items()]
    cases += [(f"{f.__name__}-float", f, [positive]) for f in (tf.sqrt, math.rsqrt, math.log)]
    binary = {
        "add": tf.add, "sub": tf.subtract, "mul": tf.multiply, "div": tf.divide, "maximum": tf.maximum,
        "minimum": tf.minimum, "squared_difference": math.squared_difference, "floor_div": math.floordiv,
        "floor_mod": math.floormod, "less": tf.less, "less_equal": tf.less_equal, "greater": tf.greater,
        "greater_equal": tf.greater_equal, "equal": tf.equal, "not_equal": tf.not_equal,
        "add_relu": lambda u, v: nn.relu(u + v),
    }  # fmt: skip
    cases += [(f"{name}-broadcast", function, [a, b]) for name, function in binary.items()]
    cases += [
        ("pow-float", lambda u, v: tf.pow(u, v), [positive, b]),
        ("floor_div-int", lambda u: math.floordiv(u, 3), [np.arange(-7, 8, dtype=np.int32)]),
        ("floor_div-int-negative", lambda u: math.floordiv(u, -3), [np.arange(-7, 8, dtype=np.int32)]),
        ("floor_mod-int", lambda u: math.floormod(u, -3), [np.arange(-7, 8, dtype=np.int32)]),
        ("add_n-three", lambda u: tf.add_n([u, u * 2.0, tf.tanh(u)]), [a]),
        ("select-broadcast", lambda u, v: tf.where(u > 0.0, u, v), [a, b]),
        ("logical-and-or-not", lambda u, v: (u > 0.0) & (v > 0.0) | ~(u > 1.0), [a, b]),
        ("cast-to-int", lambda u: tf.cast(u * 10.0, tf.int32), [a]),
    ]
    return cases


def structure(tf: Any) -> list[Case]:
    """Shapes, slices, gathers, reductions, matrix products, control flow."""
    a, i32 = (2, 3, 5), np.int32
    index = np.array([1, 0, 2, 2], i32)
    cases: list[Case] = [
        ("dense-rank2", lambda v: tf.nn.relu(tf.matmul(v, _kernel(7, 5)) + _kernel(5)), [(3, 7)]),
        ("dense-dynamic", lambda v: tf.matmul(v, _kernel(7, 5)), [(None, 7)]),
        ("dense-rank3", lambda v: tf.tensordot(v, _kernel(5, 7), 1) + _kernel(7), [a]),
        ("batch_matmul-plain", tf.matmul, [(2, 3, 5), (2, 5, 7)]),
        ("batch_matmul-adjoint", lambda u, v: tf.matmul(u, v, True, True), [(2, 5, 3), (2, 7, 5)]),
        ("reshape-infer", lambda v: tf.reshape(v, [-1, 15]), [(None, 3, 5)]),
        ("reshape-computed", lambda v: tf.reshape(v, [tf.shape(v)[0], 15]), [(None, 3, 5)]),
        ("squeeze-axis", lambda v: tf.squeeze(v, [1]), [(2, 1, 5)]),
        ("expand_dims-middle", lambda v: tf.expand_dims(v, -2), [a]),
        ("transpose-perm", lambda v: tf.transpose(v, [2, 0, 1]), [a]),
        ("pad-constant", lambda v: tf.pad(v, [[0, 1], [2, 0], [3, 1]]), [a]),
        ("pad-value", lambda v: tf.pad(v, [[0, 1], [2, 0], [3, 1]], constant_values=1.5), [a]),
        ("pad-reflect", lambda v: tf.pad(v, [[0, 1], [2, 0], [3, 1]], "REFLECT"), [a]),
        ("slice-open", lambda v: tf.slice(v, [0, 1, 2], [1, -1, 2]), [a]),
        ("strided_slice-step", lambda v: v[:, ::2, 1:4], [a]),
        ("strided_slice-negative", lambda v: v[:, ::-1, -2:], [a]),
        ("strided_slice-shrink", lambda v: v[1, ..., -1], [a]),
        ("strided_slice-newaxis", lambda v: v[:, tf.newaxis, 1:, 0], [a]),
        ("strided_slice-backwards", lambda v: v[:, :, 3:0:-2], [a]),
        ("gather-axis", lambda v: tf.gather(v, index, axis=1), [a]),
        ("gather-batch", lambda v: tf.gather(v, np.array([[1, 0], [2, 2]], i32), axis=1, batch_dims=1), [a]),
        ("gather_nd-pairs", lambda v: tf.gather_nd(v, np.array([[1, 0], [0, 2]], i32)), [a]),
        ("scatter_nd-add", lambda v: tf.scatter_nd(np.array([[1], [3]], i32), v, [5, 3, 5]), [a]),
        ("embedding-lookup", lambda i: tf.gather(_kernel(11, 7), i), [np.array([[3, 0, 10]], i32)]),
        ("pack-axis", lambda v: tf.stack([v, v * 2.0], 1), [a]),
        ("unpack-axis", lambda v: tf.add(*tf.unstack(v, axis=0)), [a]),
        ("split-equal", lambda v: tf.concat(tf.split(v, 5, 2)[::-1], 2), [a]),
        ("split_v-sizes", lambda v: tf.concat(tf.split(v, [1, 3, 1], 2)[::-1], 2), [a]),
        ("concat-axis", lambda u, v: tf.concat([u, v], -1), [a, (2, 3, 7)]),
        ("tile-all", lambda v: tf.tile(v, [1, 2, 3]), [a]),
        ("broadcast_to-new", lambda v: tf.broadcast_to(v, [2, 3, 5]), [(3, 1)]),
        ("mean-keep", lambda v: tf.reduce_mean(v, [1, 2], keepdims=True), [a]),
        ("sum-axis", lambda v: tf.reduce_sum(v, -1), [a]),
        ("prod-axis", lambda v: tf.reduce_prod(v, 0), [a]),
        ("reduce_max-axis", lambda v: tf.reduce_max(v, 1), [a]),
        ("reduce_min-axis", lambda v: tf.reduce_min(v, [0, 2]), [a]),
        ("reduce_any-axis", lambda v: tf.reduce_any(v > 1.0, 2), [a]),
        ("reduce_all-axis", lambda v: tf.reduce_all(v > -1.0, 2), [a]),
        ("arg_max-axis", lambda v: tf.argmax(v, 1, tf.int32), [a]),
        ("arg_min-axis", lambda v: tf.argmin(v, -1), [a]),
        ("topk-3", lambda v: tf.math.top_k(v, 3), [a]),
        ("cumsum-plain", lambda v: tf.cumsum(v, 1), [a]),
        ("cumsum-exclusive", lambda v: tf.cumsum(v, 2, exclusive=True, reverse=True), [a]),
        ("one_hot-negative", lambda i: tf.one_hot(i, 5, 2.0, -1.0), [np.array([0, 4, -1, 7], i32)]),
        ("reverse-axis", lambda v: tf.reverse(v, [1]), [a]),
        ("reverse_sequence-lengths", lambda v: tf.reverse_sequence(v, [2, 3], seq_axis=1, batch_axis=0), [a]),
        ("where-places", lambda v: tf.where(v > 0.0), [a]),
        ("fill-scaled", lambda v: tf.fill([2, 3], tf.reduce_max(v)), [a]),
        ("range-float", lambda v: tf.range(0.0, tf.reduce_max(v), 0.25), [a]),
        ("fake_quant-range", lambda v: tf.quantization.fake_quant_with_min_max_args(v, -1.1, 2.3), [a]),
        ("if-branches", lambda v: tf.cond(tf.reduce_sum(v) > 0.0, lambda: v * 2.0, lambda: v - 1.0), [a]),
        (
            "while-count",
            lambda v: tf.while_loop(lambda n, s: n < 5, lambda n, s: (n + 1, tf.tanh(s) * 1.5), [0, v])[1],
            [a],
        ),
    ]
    return cases

"""TensorFlow's image operators with asymmetric prime sizes."""

from __future__ import annotations

from .savedmodel_catalogue import _array, _tf
from .tf_judge import Case

IMAGES: dict[str, Case] = {}
_K, _D, _T = _array(3, 2, 3, 7), _array(3, 2, 3, 2), _array(3, 2, 7, 3)
_B = _array(7)


def _add(name: str, build: object, *shapes: tuple[int | None, ...], **options: object) -> None:
    assert name not in IMAGES
    IMAGES[name] = Case(_tf(build), shapes, **options)  # type: ignore[arg-type]


_X = (None, 11, 13, 3)
for _padding in ("SAME", "VALID"):
    for _stride in ((1, 1), (2, 3)):
        _add(f"Conv2D-{_padding}-{_stride[0]}{_stride[1]}",
             lambda tf, x, p=_padding, s=_stride: tf.nn.bias_add(tf.nn.conv2d(x, _K, s, p), _B), _X,
             ops=["Conv2D", "BiasAdd"])  # fmt: skip
    _add(f"Conv2D-dilated-{_padding}", lambda tf, x, p=_padding: tf.nn.conv2d(x, _K, 1, p, dilations=[2, 3]), _X,
         ops=["Conv2D"])  # fmt: skip
    _add(f"DepthwiseConv2dNative-{_padding}", lambda tf, x, p=_padding: tf.nn.depthwise_conv2d(x, _D, [1, 2, 2, 1], p),
         _X, ops=["DepthwiseConv2dNative"])  # fmt: skip
    for _n in ("max_pool2d", "avg_pool2d"):
        _add(f"{_n}-{_padding}", lambda tf, x, p=_padding, n=_n: getattr(tf.nn, n)(x, [3, 2], [2, 3], p), _X)
    _add(f"MaxPool3D-{_padding}", lambda tf, x, p=_padding: tf.nn.max_pool3d(x, [3, 2, 2], [2, 3, 1], p),
         (2, 5, 7, 11, 3), ops=["MaxPool3D"])  # fmt: skip
    _add(f"AvgPool3D-{_padding}", lambda tf, x, p=_padding: tf.nn.avg_pool3d(x, [3, 2, 2], [2, 3, 1], p),
         (2, 5, 7, 11, 3), ops=["AvgPool3D"])  # fmt: skip
    _add(f"Conv3D-{_padding}", lambda tf, x, p=_padding: tf.nn.conv3d(x, _array(2, 3, 2, 3, 5), [1, 2, 1, 2, 1], p),
         (2, 5, 7, 11, 3), ops=["Conv3D"])  # fmt: skip
    _add(f"separable-{_padding}", lambda tf, x, p=_padding: tf.nn.separable_conv2d(x, _D, _array(1, 1, 6, 5),
         [1, 1, 1, 1], p), _X)  # fmt: skip
    _add(f"atrous-{_padding}", lambda tf, x, p=_padding: tf.nn.atrous_conv2d(x, _K, 2, p), (2, 11, 13, 3))
_add("Conv2D-explicit", lambda tf, x: tf.nn.conv2d(x, _K, [2, 1], [[0, 0], [1, 2], [3, 0], [0, 0]]), _X, ops=["Conv2D"])
_add("Conv2D-dilated-strided", lambda tf, x: tf.raw_ops.Conv2D(input=x, filter=_K, strides=[1, 1, 1, 1],
     padding="SAME", dilations=[1, 3, 2, 1]), _X, ops=["Conv2D"])  # fmt: skip
_add("Conv2D-groups", lambda tf, x: tf.nn.conv2d(x, _array(3, 2, 2, 9), 1, "SAME"), (2, 7, 5, 6), ops=["Conv2D"])
_add("Conv2D-add", lambda tf, x: tf.nn.relu(tf.nn.conv2d(x, _K, 1, "SAME") + _B), _X)
_add("Conv2D-residual", lambda tf, x: (lambda y: tf.nn.bias_add(y, _B) + y)(tf.nn.conv2d(x, _K, 1, "SAME")), _X)
_add("Conv1D-composite", lambda tf, x: tf.nn.conv1d(x, _array(3, 5, 7), 2, "SAME"), (None, 11, 5))
_add("Conv2DBackpropInput-same", lambda tf, x: tf.nn.conv2d_transpose(x, _T, [2, 21, 15, 7], [2, 3], "SAME"),
     (2, 11, 5, 3), ops=["Conv2DBackpropInput"])  # fmt: skip
_add("Conv2DBackpropInput-valid", lambda tf, x: tf.nn.conv2d_transpose(x, _T, [2, 24, 14, 7], [2, 3], "VALID"),
     (2, 11, 5, 3), ops=["Conv2DBackpropInput"])  # fmt: skip
_add("Conv2DBackpropInput-shape",
     lambda tf, x: tf.nn.conv2d_transpose(x, _T, tf.stack([tf.shape(x)[0], 22, 15, 7]), [2, 3], "SAME"),
     (None, 11, 5, 3), ops=["Conv2DBackpropInput"])  # fmt: skip
_add("Conv3DBackpropInputV2-same",
     lambda tf, x: tf.nn.conv3d_transpose(x, _array(2, 3, 2, 5, 3), [2, 6, 13, 5, 5], [2, 2, 1], "SAME"),
     (2, 3, 7, 5, 3), ops=["Conv3DBackpropInputV2"])  # fmt: skip
_S = [_array(3) for _ in range(3)] + [abs(_array(3)) + 0.5]
_add("FusedBatchNormV3-inference",
     lambda tf, x: tf.raw_ops.FusedBatchNormV3(x=x, scale=_S[0], offset=_S[1], mean=_S[2], variance=_S[3],
     epsilon=0.01, is_training=False).y, _X, ops=["FusedBatchNormV3"])  # fmt: skip
_add("FusedBatchNorm-old",
     lambda tf, x: tf.raw_ops.FusedBatchNorm(x=x, scale=_S[0], offset=_S[1], mean=_S[2], variance=_S[3],
     is_training=False).y, _X, ops=["FusedBatchNorm"])  # fmt: skip
_add("batch_normalization-arithmetic",
     lambda tf, x: tf.nn.batch_normalization(x, _S[2], _S[3],
     _S[1], _S[0], 0.01), _X)  # fmt: skip
_add("LRN-window", lambda tf, x: tf.nn.lrn(x, 2, 1.5, 0.3, 0.7), (2, 5, 7, 11), ops=["LRN"])
for _n, _op in (("bilinear", "ResizeBilinear"), ("nearest_neighbor", "ResizeNearestNeighbor")):
    for _a, _h in ((False, True), (True, False), (False, False)):
        _add(f"{_op}-{'corners' if _a else 'half' if _h else 'plain'}",
             lambda tf, x, n=_op, a=_a, h=_h: getattr(tf.raw_ops, n)(images=x, size=[17, 7], align_corners=a,
             half_pixel_centers=h), _X, ops=[_op])  # fmt: skip
_add("ResizeBilinear-computed",
     lambda tf, x: tf.image.resize(x, tf.shape(x)[1:3] * 2), (None, None, 13, 3), ops=["ResizeBilinear"])  # fmt: skip
_add("ResizeBilinear-uint8", lambda tf, x: tf.raw_ops.ResizeBilinear(images=x, size=[5, 7]), (2, 11, 13, 3),
     dtypes=["uint8"], low=0, high=255)  # fmt: skip
_add("DepthToSpace-block", lambda tf, x: tf.nn.depth_to_space(x, 2), (None, 5, 7, 12), ops=["DepthToSpace"])
_add("SpaceToDepth-block", lambda tf, x: tf.nn.space_to_depth(x, 2), (None, 10, 14, 3), ops=["SpaceToDepth"])
_add("SpaceToBatchND-pad", lambda tf, x: tf.space_to_batch(x, [2, 3], [[1, 2], [0, 2]]), _X, ops=["SpaceToBatchND"])
_add("BatchToSpaceND-crop", lambda tf, x: tf.raw_ops.BatchToSpaceND(input=x, block_shape=[2, 3],
     crops=[[1, 0], [2, 1]]), (12, 5, 7, 3), ops=["BatchToSpaceND"])  # fmt: skip
_add("MaxPool-argmax", lambda tf, x: tf.nn.max_pool_with_argmax(x, [3, 2], 2, "SAME")[0], _X, ops=["MaxPoolWithArgmax"])
_add("SpaceToBatch-old", lambda tf, x: tf.raw_ops.SpaceToBatch(input=x, paddings=[[1, 2], [0, 2]], block_size=2),
     (2, 5, 6, 3), ops=["SpaceToBatch"])  # fmt: skip
_add("BatchToSpace-old", lambda tf, x: tf.raw_ops.BatchToSpace(input=x, crops=[[1, 0], [2, 1]], block_size=2),
     (12, 5, 7, 3), ops=["BatchToSpace"])  # fmt: skip
_add("FusedBatchNormV2-old",
     lambda tf, x: tf.raw_ops.FusedBatchNormV2(x=x, scale=_S[0], offset=_S[1], mean=_S[2], variance=_S[3],
     is_training=False).y, _X, ops=["FusedBatchNormV2"])  # fmt: skip

"""Resizing, sampling and regions of images."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.torch.writing import Refuse, writes
from recast.formats.torch.writing._emitter import Emitter
from recast.formats.torch.writing._literals import list_literal, number
from recast.formats.torch.writing.reshape import rank_of
from recast.graph import view


def _interpolate(e: Emitter, node: ir.Node) -> str | None:
    """``F.interpolate`` where it means exactly the same."""
    mode, how = view.attr(node, "mode", "nearest"), view.attr(node, "coordinate_transformation_mode", "half_pixel")
    scales = e.const(node, 2)
    rank = rank_of(node)
    if not 3 <= rank <= 5 or view.attr(node, "antialias", 0) or view.attr(node, "axes") or scales is None:
        return None
    if scales.size != rank or e.value(node, 3) is not None or (scales[:2] != 1).any():
        return None
    factors = [float(s) for s in scales[2:]]
    whole = all(f == int(f) and f >= 1 for f in factors)
    shown = str(tuple(int(f) for f in factors)) if len(set(factors)) > 1 else str(int(factors[0]))
    nearest = mode == "nearest" and how == "asymmetric" and view.attr(node, "nearest_mode", "") == "floor"
    linear = mode == "linear" and how in ("half_pixel", "align_corners")
    if not whole or not (nearest or linear):
        return None
    if nearest:
        return f"{e.module(node, f'nn.Upsample(scale_factor={shown})', {})}({e.x(node)})"
    kind = {3: "linear", 4: "bilinear", 5: "trilinear"}[rank]
    align = ", align_corners=True" if how == "align_corners" else ""
    code = f'nn.Upsample(scale_factor={shown}, mode="{kind}"{align})'
    return f"{e.module(node, code, {})}({e.x(node)})"


@writes("Resize")
def resize(e: Emitter, node: ir.Node) -> str:
    simple = _interpolate(e, node)
    if simple is not None:
        return simple
    rank = rank_of(node)
    mode = view.attr(node, "mode", "nearest")
    axes = [a % rank for a in view.attr(node, "axes") or range(rank)]
    how = view.attr(node, "coordinate_transformation_mode", "half_pixel")
    policy = view.attr(node, "keep_aspect_ratio_policy", "stretch")
    rounding = view.attr(node, "nearest_mode", "round_prefer_floor")
    for text in (mode, how, policy, rounding):
        if not text.replace("_", "").isalnum():
            raise Refuse("an unknown mode")
    scales, roi = e.const(node, 2), e.const(node, 1)
    given_sizes = e.value(node, 3) is not None
    factors = "None" if given_sizes else list_literal(scales) if scales is not None else f"{e.x(node, 2)}.tolist()"
    region = "None"
    if how == "tf_crop_and_resize":
        region = list_literal(roi) if roi is not None else f"{e.x(node, 1)}.tolist()"
    sizes = e.list_code(node, 3) if given_sizes else "None"
    settings = (
        f'("{mode}", "{how}", "{rounding}", "{policy}"), ({number(view.attr(node, "cubic_coeff_a", -0.75))}, '
        f"{bool(view.attr(node, 'exclude_outside', 0))}, {bool(view.attr(node, 'antialias', 0))}, "
        f"{number(view.attr(node, 'extrapolation_value', 0.0))})"
    )
    return f"{e.helper('resize')}({e.x(node)}, {axes}, {factors}, {sizes}, {region}, {settings})"


@writes("GridSample")
def grid_sample(e: Emitter, node: ir.Node) -> str:
    asked = view.attr(node, "mode", "linear")
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(asked, asked)
    if mode not in ("bilinear", "bicubic", "nearest"):
        raise Refuse("this mode")
    padding = view.attr(node, "padding_mode", "zeros")
    if padding not in ("zeros", "border", "reflection") or (mode == "bicubic" and rank_of(node) != 4):
        raise Refuse("this mode")
    align = bool(view.attr(node, "align_corners", 0))
    return f'F.grid_sample({e.x(node)}, {e.x(node, 1)}, "{mode}", "{padding}", align_corners={align})'


@writes("AffineGrid")
def affine_grid(e: Emitter, node: ir.Node) -> str:
    align = bool(view.attr(node, "align_corners", 0))
    return f"F.affine_grid({e.x(node)}, {e.list_code(node, 1)}, align_corners={align})"


@writes("RoiAlign")
def roi_align(e: Emitter, node: ir.Node) -> str:
    sizes = f"({view.attr(node, 'output_height', 1)}, {view.attr(node, 'output_width', 1)})"
    ratio, scale = view.attr(node, "sampling_ratio", 0), number(view.attr(node, "spatial_scale", 1.0))
    flags = f"{view.attr(node, 'mode', 'avg') == 'max'}, " + str(
        view.attr(node, "coordinate_transformation_mode", "half_pixel") == "half_pixel"
    )
    return f"{e.helper('roi_align')}({', '.join(e.xs(node))}, {sizes}, {ratio}, {scale}, {flags})"


@writes("MaxUnpool")
def max_unpool(e: Emitter, node: ir.Node) -> str:
    rank = rank_of(node) - 2
    kernel = view.attr(node, "kernel_shape")
    stride = view.attr(node, "strides") or [1] * rank
    pads = view.attr(node, "pads") or [0] * (2 * rank)
    size = e.list_code(node, 2) if e.value(node, 2) is not None else "None"
    return f"{e.helper('max_unpool')}({e.x(node)}, {e.x(node, 1)}, {kernel}, {stride}, {pads}, {size})"


@writes("Col2Im")
def col2im(e: Emitter, node: ir.Node) -> str:
    image = node.inputs[1]
    rank = view.static_shape(image) if image is not None else None
    if not rank:
        raise Refuse("how many axes the image has is known only at run time")
    ones = [1] * rank[0]
    dilation, stride = view.attr(node, "dilations") or ones, view.attr(node, "strides") or ones
    pads = view.attr(node, "pads") or [0] * (2 * rank[0])
    args = f"{e.x(node)}, {e.list_code(node, 1)}, {e.list_code(node, 2)}, {dilation}"
    if rank[0] == 2 and pads[:2] == pads[2:]:
        return f"F.fold({args}, {pads[:2]}, {stride})"
    return f"{e.helper('fold_windows')}({args}, {pads}, {stride})"


@writes("CenterCropPad")
def center_crop_pad(e: Emitter, node: ir.Node) -> str:
    axes = [a % rank_of(node) for a in view.attr(node, "axes") or range(rank_of(node))]
    return f"{e.helper('center_crop_pad')}({e.x(node)}, {e.list_code(node, 1)}, {axes})"

"""Attention, rotary positions and classification losses."""

from __future__ import annotations

import onnx_ir as ir

from recast.formats.torch.writing import Refuse, writes
from recast.formats.torch.writing._emitter import Emitter
from recast.formats.torch.writing._literals import number
from recast.formats.torch.writing.elementwise import input_type
from recast.graph import view


def _plain_attention(e: Emitter, node: ir.Node) -> bool:
    """Whether F.scaled_dot_product_attention says it all."""
    q = node.inputs[0]
    extras = any(e.value(node, i) is not None for i in (4, 5, 6)) or len(node.outputs) > 1
    mask = e.value(node, 3)
    special = view.attr(node, "softcap", 0.0) or view.attr(node, "left_window_size", -1) >= 0
    special = special or view.attr(node, "right_window_size", -1) >= 0 or (view.attr(node, "is_causal", 0) and mask)
    four = q is not None and q.shape is not None and len(q.shape) == 4
    return bool(four and not extras and not special and (mask is None or _as_long(mask, e.value(node, 1))))


def _as_long(mask: ir.Value, keys: ir.Value | None) -> bool:
    """Whether a mask says something of every key (ONNX lets the last ones go unsaid)."""
    if mask.shape is None or not len(mask.shape) or keys is None or keys.shape is None:
        return False
    said, wanted = mask.shape[-1], keys.shape[2]
    return said == wanted and (isinstance(said, int) or said.value is not None)


def _same_heads(node: ir.Node) -> bool:
    """Whether every query head has keys and values of its own."""
    heads = {view.dims(v)[1] for v in node.inputs[:3] if v is not None and v.shape is not None}
    return len(heads) == 1 and None not in heads


@writes("Attention")
def attention(e: Emitter, node: ir.Node) -> str:
    scale = view.attr(node, "scale")
    causal = bool(view.attr(node, "is_causal", 0))
    if _plain_attention(e, node):
        extra = (", is_causal=True" if causal else "") + (f", scale={number(scale)}" if scale else "")
        half = input_type(node) in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
        # in half precision PyTorch's kernel for CPUs rounds the weights before it uses them
        used = ", ".join(x + (".float()" if half else "") for x in e.xs(node)[:3])
        mask = e.value(node, 3)
        if mask is not None:
            extra = f", {e.x(node, 3)}{'.float()' if half and mask.dtype != ir.DataType.BOOL else ''}{extra}"
        back = f".to({e.dtype(node.outputs[0])})" if half else ""
        extra += "" if _same_heads(node) else ", enable_gqa=True"
        return f"F.scaled_dot_product_attention({used}{extra}){back}"
    xs = [*e.xs(node), *["None"] * 7][:7]
    heads = f"({view.attr(node, 'q_num_heads')}, {view.attr(node, 'kv_num_heads')})"
    window = f"({view.attr(node, 'left_window_size', -1)}, {view.attr(node, 'right_window_size', -1)})"
    softcap, mode = number(view.attr(node, "softcap", 0.0)), view.attr(node, "qk_matmul_output_mode", 0)
    settings = f"{number(scale) if scale else None}, {causal}, {softcap}, {mode}"
    count = len(node.outputs)
    cut = "[0]" if count == 1 else "" if count == 4 else f"[:{count}]"
    precision = view.attr(node, "softmax_precision")
    kind = f"torch.{e.type(ir.DataType(precision)).torch}" if precision else "None"
    return f"{e.helper('attention')}([{', '.join(xs)}], {heads}, {window}, ({settings}), {kind}){cut}"


@writes("RotaryEmbedding")
def rotary_embedding(e: Emitter, node: ir.Node) -> str:
    xs = [*e.xs(node), "None"][:4]
    flags = f"{bool(view.attr(node, 'interleaved', 0))}, {view.attr(node, 'rotary_embedding_dim', 0)}"
    return f"{e.helper('rotary_embedding')}({', '.join(xs)}, {flags}, {view.attr(node, 'num_heads', 0)})"


@writes("SwiGLU")
def swiglu(e: Emitter, node: ir.Node) -> str:
    alpha = number(view.attr(node, "alpha", 1.0))
    return f"{e.x(node)} * torch.sigmoid({alpha} * {e.x(node)}) * {e.x(node, 1)}"


def _loss_arguments(e: Emitter, node: ir.Node) -> str:
    reduction = view.attr(node, "reduction", "mean")
    if reduction not in ("mean", "sum", "none"):
        raise Refuse(f"reduction {reduction!r}")
    return f'{e.x(node, 1)}, {e.optional(node, 2)}, "{reduction}", {view.attr(node, "ignore_index")}'


@writes("NegativeLogLikelihoodLoss")
def nll_loss(e: Emitter, node: ir.Node) -> str:
    return f"{e.helper('nll_loss')}({e.x(node)}, {_loss_arguments(e, node)})"


@writes("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(e: Emitter, node: ir.Node) -> str:
    log = e.temporary("log_prob")
    e.emit(f"{log} = torch.log_softmax({e.x(node)}, 1)")
    loss = f"{e.helper('nll_loss')}({log}, {_loss_arguments(e, node)})"
    return f"{loss}, {log}" if len(node.outputs) > 1 else loss

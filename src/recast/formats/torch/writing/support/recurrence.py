"""Support text: recurrent layers step by step, for variants that PyTorch's layers lack."""
# An operator brings the arguments it has; the text is pasted, so that it stays plain.
# ruff: noqa: PLR0913, B905

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def limited(x: Tensor, clip: float | None) -> Tensor:
    """Clamp to [-clip, clip], if there is one."""
    return x if clip is None else x.clamp(-clip, clip)


def lstm_step(
    x: Tensor, state: list[Tensor], weights: list[Any], f: list[Any], clip: float | None, flag: bool
) -> list[Tensor]:
    """One LSTM step (gates i, o, f, c); ``flag`` couples the input and forget gates."""
    w, r, b, peephole = weights
    h, c = state
    i, o, g, u = (x @ w.T + h @ r.T + b).chunk(4, -1)
    p_i, p_o, p_f = peephole.chunk(3, -1)
    i = f[0](limited(i + p_i * c, clip))
    g = 1 - i if flag else f[0](limited(g + p_f * c, clip))
    c = g * c + i * f[1](limited(u, clip))
    return [f[0](limited(o + p_o * c, clip)) * f[2](c), c]


def gru_step(
    x: Tensor, state: list[Tensor], weights: list[Any], f: list[Any], clip: float | None, flag: bool
) -> list[Tensor]:
    """One GRU step (gates z, r, h); ``flag``: the reset gate acts after the matrix product."""
    w, r, b, _ = weights
    h = state[0]
    b_w, b_r = b.chunk(2, -1)
    x_z, x_r, x_h = (x @ w.T + b_w).chunk(3, -1)
    r_z, r_r, r_h = r.chunk(3, 0)
    c_z, c_r, c_h = b_r.chunk(3, -1)
    z = f[0](limited(x_z + h @ r_z.T + c_z, clip))
    reset = f[0](limited(x_r + h @ r_r.T + c_r, clip))
    inner = reset * (h @ r_h.T + c_h) if flag else (reset * h) @ r_h.T + c_h
    return [(1 - z) * f[1](limited(x_h + inner, clip)) + z * h]


def rnn_step(
    x: Tensor, state: list[Tensor], weights: list[Any], f: list[Any], clip: float | None, flag: bool
) -> list[Tensor]:
    """One step of a simple recurrent layer."""
    w, r, b, _ = weights
    return [f[0](limited(x @ w.T + state[0] @ r.T + b, clip))]


def run_recurrent(
    tensors: list[Any],
    step: Callable[..., list[Tensor]],
    functions: list[Any],
    backward: bool,
    clip: float | None,
    flag: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run over (x, W, R, B, lengths, h0, c0, peepholes) in ONNX's layout; returns Y, Y_h, Y_c."""
    x, w, r, b, lengths, h0, c0, peephole = tensors
    if batch_first:
        x = x.transpose(0, 1)
        h0, c0 = (None if s is None else s.transpose(0, 1) for s in (h0, c0))
    steps, batch, hidden, count = x.shape[0], x.shape[1], r.shape[2], w.shape[0]
    outputs: list[Tensor] = []
    last: list[list[Tensor]] = []
    for d in range(count):
        bias = x.new_zeros(2 * w.shape[1]) if b is None else b[d]
        if step is not gru_step:
            bias = sum(bias.chunk(2, -1))
        own = [w[d], r[d], bias, x.new_zeros(3 * hidden) if peephole is None else peephole[d]]
        f = functions[d * len(functions) // count :]
        state = [x.new_zeros(batch, hidden) if h0 is None else h0[d]]
        if step is lstm_step:
            state.append(x.new_zeros(batch, hidden) if c0 is None else c0[d])
        turned = backward or d == 1
        rows: list[Tensor] = [x.new_zeros(batch, hidden)] * steps
        for t in reversed(range(steps)) if turned else range(steps):
            new = step(x[t], state, own, f, clip, flag)
            if lengths is None:
                state, rows[t] = new, new[0]
            else:
                active = (t < lengths).reshape(-1, 1)
                state = [torch.where(active, n, s) for n, s in zip(new, state)]
                rows[t] = torch.where(active, new[0], torch.zeros_like(new[0]))
        outputs.append(torch.stack(rows) if rows else x.new_zeros(0, batch, hidden))
        last.append(state)
    y = torch.stack(outputs, 1)
    ends = [torch.stack([s[i] for s in last]) for i in range(len(last[0]))]
    ends.append(ends[0])
    if batch_first:
        return y.permute(2, 0, 1, 3), ends[0].transpose(0, 1), ends[1].transpose(0, 1)
    return y, ends[0], ends[1]

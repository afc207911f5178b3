"""RNN, GRU and LSTM by the equations of the ONNX specification, any direction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recast.verification.kernels import Call, Result, kernel

Gate = Callable[[np.ndarray], np.ndarray]


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))


def _hard_sigmoid(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return np.asarray(np.clip(alpha * x + beta, 0, 1))


def _gates(call: Call, defaults: tuple[str, ...], directions: int) -> list[list[Gate]]:
    """The activation functions, one list per direction."""
    names = list(call.attr("activations") or list(defaults) * directions)
    alphas, betas = list(call.attr("activation_alpha") or []), list(call.attr("activation_beta") or [])
    found: list[Gate] = []
    for name in names:
        plain = {"sigmoid": _sigmoid, "tanh": np.tanh, "relu": lambda x: np.maximum(x, 0), "affine": None}
        lower = name.lower()
        if lower == "hardsigmoid":
            alpha, beta = (alphas.pop(0) if alphas else 0.2), (betas.pop(0) if betas else 0.5)
            found.append(lambda x, a=alpha, b=beta: _hard_sigmoid(x, a, b))  # type: ignore[misc]
        elif plain.get(lower) is not None:
            found.append(plain[lower])  # type: ignore[arg-type]
        else:
            raise ValueError(f"activation {name} is not evaluated")
    each = len(defaults)
    return [found[i * each : (i + 1) * each] for i in range(directions)]


class _Setup:
    """Inputs of a recurrent node in one form: time-major x, one slice of weights per direction."""

    def __init__(self, call: Call, gate_count: int) -> None:
        self.call = call
        self.hidden = int(call.attr("hidden_size"))
        self.batch_first = bool(call.attr("layout", 0))
        x = call[0]
        self.x = x.transpose(1, 0, 2) if self.batch_first else x
        self.w, self.r = call[1], call[2]
        self.directions = self.w.shape[0]
        bias = call.get(3)
        self.b = np.zeros((self.directions, 2 * gate_count * self.hidden), x.dtype) if bias is None else bias
        if call.attr("clip"):
            raise ValueError("clip is not evaluated")
        lengths = call.get(4)
        steps, batch = self.x.shape[:2]
        self.lengths = np.full(batch, steps) if lengths is None else lengths.astype(np.int64)

    def state(self, index: int) -> np.ndarray:
        """An initial state as (directions, batch, hidden)."""
        given = self.call.get(index)
        if given is None:
            return np.zeros((self.directions, self.x.shape[1], self.hidden), self.x.dtype)
        return given.transpose(1, 0, 2) if self.batch_first else given

    def backward(self, direction: int) -> bool:
        """Whether this direction runs from the end."""
        return direction == 1 or self.call.attr("direction", "forward") == "reverse"

    def scan(
        self, direction: int, states: list[np.ndarray], step: Callable[..., list[np.ndarray]]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Run ``step(x_t, *states) -> states`` over time, each sample for its own length; (T, N, H) and last states."""
        steps = self.x.shape[0]
        out = np.zeros((steps, self.x.shape[1], self.hidden), self.x.dtype)
        order = range(steps - 1, -1, -1) if self.backward(direction) else range(steps)
        for t in order:
            alive = (t < self.lengths)[:, None]
            after = step(self.x[t], *states)
            states = [np.where(alive, new, old) for new, old in zip(after, states, strict=True)]
            out[t] = np.where(alive, states[0], 0)
        return out, states

    def finish(self, outs: list[np.ndarray], finals: list[list[np.ndarray]]) -> Result:
        """Y and the last states, in the node's layout."""
        y = np.stack(outs, axis=1)  # T, D, N, H
        last = [np.stack(s) for s in zip(*finals, strict=True)]  # D, N, H
        if self.batch_first:
            return (y.transpose(2, 0, 1, 3), *(s.transpose(1, 0, 2) for s in last))
        return (y, *last)


def _split(values: np.ndarray, count: int) -> list[np.ndarray]:
    return np.split(values, count, axis=-1)


@kernel("RNN")
def rnn(call: Call) -> Result:
    """H = f(x Wᵀ + H Rᵀ + b)."""
    setup, h0 = _Setup(call, 1), None
    h0 = setup.state(5)
    outs, finals = [], []
    for d, (f,) in enumerate(_gates(call, ("Tanh",), setup.directions)):
        wb, rb = _split(setup.b[d], 2)

        def step(x: np.ndarray, h: np.ndarray, d: int = d, f: Gate = f, b: np.ndarray = wb + rb) -> list[np.ndarray]:
            return [f(x @ setup.w[d].T + h @ setup.r[d].T + b)]

        y, last = setup.scan(d, [h0[d]], step)
        outs.append(y)
        finals.append(last)
    return setup.finish(outs, finals)


@kernel("GRU")
def gru(call: Call) -> Result:
    """Gates z, r, h; ``linear_before_reset`` as in the specification."""
    setup = _Setup(call, 3)
    h0, after = setup.state(5), bool(call.attr("linear_before_reset", 0))
    outs, finals = [], []
    for d, (f, g) in enumerate(_gates(call, ("Sigmoid", "Tanh"), setup.directions)):
        wb, rb = _split(setup.b[d], 2)

        def step(
            x: np.ndarray,
            h: np.ndarray,
            d: int = d,
            fg: tuple[Gate, Gate] = (f, g),
            b: tuple[np.ndarray, np.ndarray] = (wb, rb),
        ) -> list[np.ndarray]:
            xz, xr, xh = _split(x @ setup.w[d].T + b[0], 3)
            rz, rr, rh = _split(setup.r[d], 1)[0].reshape(3, setup.hidden, -1)
            bz, br, bh = _split(b[1], 3)
            z, r = fg[0](xz + h @ rz.T + bz), fg[0](xr + h @ rr.T + br)
            inner = r * (h @ rh.T + bh) if after else (r * h) @ rh.T + bh
            return [(1 - z) * fg[1](xh + inner) + z * h]

        y, last = setup.scan(d, [h0[d]], step)
        outs.append(y)
        finals.append(last)
    return setup.finish(outs, finals)


@kernel("LSTM")
def lstm(call: Call) -> Result:
    """Gates i, o, f, c; peepholes p as i, o, f."""
    setup = _Setup(call, 4)
    h0, c0, peep = setup.state(5), setup.state(6), call.get(7)
    if call.attr("input_forget", 0):
        raise ValueError("input_forget is not evaluated")
    outs, finals = [], []
    for d, gates in enumerate(_gates(call, ("Sigmoid", "Tanh", "Tanh"), setup.directions)):
        wb, rb = _split(setup.b[d], 2)
        p = np.zeros(3 * setup.hidden, setup.x.dtype) if peep is None else peep[d]

        def step(
            x: np.ndarray,
            h: np.ndarray,
            c: np.ndarray,
            d: int = d,
            f: list[Gate] = gates,
            bp: tuple[np.ndarray, ...] = (wb + rb, p),
        ) -> list[np.ndarray]:
            i, o, forget, cell = _split(x @ setup.w[d].T + h @ setup.r[d].T + bp[0], 4)
            pi, po, pf = _split(bp[1], 3)
            new = f[0](forget + pf * c) * c + f[0](i + pi * c) * f[1](cell)
            return [f[0](o + po * new) * f[2](new), new]

        y, last = setup.scan(d, [h0[d], c0[d]], step)
        outs.append(y)
        finals.append(last)
    return setup.finish(outs, finals)

"""Gradients of a written network: attacks and attribution maps. Runs in a child process (``_util/worker.py``).

Quantised networks run with straight-through rounding (Bengio, Léonard, Courville 2013): forward they round and saturate
as always, backward the rounding counts as the identity, and saturated values pass nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recast._util.optional import need
from recast.errors import BadModel
from recast.formats.torch import run
from recast.formats.torch.trust import sha256

_BATCH = 64
_SURE = 1e-6  # probabilities are kept this far from 0 and 1 before their logarithm

Arrays = dict[str, np.ndarray]


def preload() -> None:
    """Import PyTorch."""
    need("torch", "torch")


class Session(run.Session):
    """A differentiable network with one input, fed with real numbers.

    Args:
        path: ``.py`` with its weights beside it.
        options: those of ``run.Session``, and ``code``: (scale, zero, low, high) of a quantised input, or None;
            ``output``: (scale, zero) of a quantised output, or None; ``kind``: ``classes``, ``binary`` (one score,
            ``probability`` tells whether it is one) or ``reconstruction``.
    """

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        super().__init__(path, options)
        self._code, self._output = options.get("code"), options.get("output")
        self._kind, self._probability = options["kind"], bool(options.get("probability"))
        if len(self.inputs) != 1:
            raise BadModel(f"{len(self.inputs)} inputs: gradients are taken for one", path)
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        self.straighten()
        fixed = self.inputs[0].shape[0]
        self._step = int(fixed) if isinstance(fixed, int) else _BATCH
        self._full = isinstance(fixed, int)

    def _forward(self, x: Any) -> Any:
        """Real inputs (n, …) to real outputs of the network's first output (n, …)."""
        torch = self.torch
        if self._code is not None:
            scale, zero, low, high = self._code
            y = x / scale
            x = (y + (torch.round(y) - y).detach() + zero).clamp(low, high)
        result = self.model(x)
        result = result[0] if isinstance(result, tuple) else result
        if self._output is not None:
            result = (result.to(torch.float32) - self._output[1]) * self._output[0]
        return result.to(torch.float32)

    def _scores(self, x: Any, target: Any) -> Any:
        """One number a sample: the score of its target class, or its reconstruction error."""
        out = self._forward(x).reshape(len(x), -1)
        if self._kind == "reconstruction":
            return (out - x.reshape(len(x), -1)).square().mean(dim=1)
        if self._kind == "binary":
            return out[:, 0] * (2 * target - 1)
        return out.gather(1, target.reshape(-1, 1))[:, 0]

    def _losses(self, x: Any, target: Any) -> Any:
        """What an attacker makes large, one number a sample."""
        functional = self.torch.nn.functional
        if self._kind == "reconstruction":  # a normal sample shall look odd, an odd one normal
            return self._scores(x, target) * (1 - 2 * target)
        out = self._forward(x).reshape(len(x), -1)
        if self._kind == "binary":
            odds = self.torch.logit(out[:, 0], eps=_SURE) if self._probability else out[:, 0]
            return functional.binary_cross_entropy_with_logits(odds, target.to(odds.dtype), reduction="none")
        return functional.cross_entropy(out, target, reduction="none")

    def evaluate(self, feeds: Arrays) -> tuple[None, Arrays]:
        """Real outputs for real inputs ``x``: (n, …)."""
        with self.torch.no_grad():
            return None, {"y": self._batched(lambda x, _: self._forward(x), feeds)}

    def gradient(self, feeds: Arrays) -> tuple[None, Arrays]:
        """Gradient of the loss at ``x`` for the labels ``y``, same shape as ``x``."""
        return None, {"x": self._batched(self._gradient, feeds)}

    def synthesise(self, feeds: Arrays, steps: int) -> tuple[list[float], Arrays]:
        """Noise ``x`` (n, …) to inputs that fit the normalisations' running statistics; the losses.

        With no ``steps`` the noise gets its offset and size, and the next calls go on from there, whatever their ``x``.
        """
        torch = self.torch
        if steps == 0:
            noise = torch.from_numpy(feeds["x"].copy())
            tries = [(s, c) for s in 2.0 ** np.arange(-3, 8) for c in (0.0, 1.0, 2.0)]
            with torch.no_grad():
                size, offset = min(tries, key=lambda t: float(self._misfit(noise[:8] * t[0] + t[0] * t[1])))
            self._made = (noise * size + size * offset).requires_grad_(True)
            self._descent = torch.optim.Adam([self._made], lr=0.1 * size)
        told = []
        for _ in range(steps):
            self._descent.zero_grad()
            found = self._misfit(self._made)
            found.backward()
            told.append(float(found.detach()))
            self._descent.step()
        return told, {"x": self._made.detach().numpy()}

    def _misfit(self, x: Any) -> Any:
        """Mean over the normalisations: squared errors of means and deviations, relative to each deviation."""
        torch, losses = self.torch, []

        def watch(module: Any, given: Any, _: Any) -> None:
            axes = [a for a in range(given[0].ndim) if a != 1]
            spread = torch.sqrt(module.running_var + module.eps)
            mean, std = given[0].mean(axes), torch.sqrt(given[0].var(axes, unbiased=False) + module.eps)
            losses.append((((mean - module.running_mean) / spread).square() + (std / spread - 1).square()).mean())

        kind = torch.nn.modules.batchnorm._BatchNorm
        hooks = [m.register_forward_hook(watch) for m in self.model.modules() if isinstance(m, kind)]
        if not hooks:
            raise BadModel("no normalisation remembers statistics", "network")
        self._forward(x)
        for hook in hooks:
            hook.remove()
        return torch.stack(losses).mean()

    def attack(
        self, feeds: Arrays, radius: float, limits: list[float], steps: int = 1, seed: int = 0
    ) -> tuple[None, Arrays]:
        """Samples within ``radius`` (largest change of an element) that raise the loss.

        One step: FGSM, x + ε·sign(∇L) (Goodfellow, Shlens, Szegedy 2015, section 4). More: PGD (Madry et al. 2018,
        equation 3) from a random start, with steps of 2.5·ε/steps.

        Args:
            feeds: ``x`` (n, …) and labels ``y`` (n,).
            radius: in the units of ``x``.
            limits: least and largest value that an input may have.
            steps: 1 for FGSM.
            seed: of the random start.
        """
        torch = self.torch
        noise = torch.Generator().manual_seed(seed)
        size = radius if steps == 1 else 2.5 * radius / steps

        def climb(x: Any, target: Any) -> Any:
            low, high = (x - radius).clamp(*limits), (x + radius).clamp(*limits)
            at = x
            if steps > 1:
                start = torch.rand(x.shape, generator=noise, dtype=x.dtype) * 2 - 1
                at = torch.minimum(torch.maximum(x + radius * start, low), high)
            for _ in range(steps):
                at = at + size * self._gradient(at, target).sign()
                at = torch.minimum(torch.maximum(at, low), high)
            return at

        return None, {"x": self._batched(climb, feeds)}

    def attribute(self, feeds: Arrays, how: str, steps: int = 32) -> tuple[list[float], Arrays]:
        """How much each input element counts for the score of the class ``y``; same shape as ``x``.

        ``saliency``: the gradient (Simonyan et al. 2014); ``integrated_gradients`` from the all-zero input
        (Sundararajan, Taly, Yan 2017, equation 1; ``steps`` points of Gauss–Legendre quadrature). Both by Captum.

        Returns:
            For integrated gradients how far each map's sum is from the change of the score (completeness), in score.
        """
        attr = need("captum.attr", "interpret")
        deltas: list[float] = []

        def explain(x: Any, target: Any) -> Any:
            def score(inputs: Any, classes: Any) -> Any:
                return self._scores(inputs, classes)

            if how == "saliency":
                return attr.Saliency(score).attribute(x.requires_grad_(), abs=False, additional_forward_args=target)
            found, delta = attr.IntegratedGradients(score).attribute(
                x,
                n_steps=steps,
                additional_forward_args=target,
                internal_batch_size=len(x),
                return_convergence_delta=True,
            )
            deltas.extend(delta.tolist())
            return found

        return deltas, {"map": self._batched(explain, feeds)}

    def _gradient(self, x: Any, target: Any) -> Any:
        at = x.detach().requires_grad_()
        losses = self._losses(at, target)
        if not losses.requires_grad:
            raise BadModel("the outputs do not depend on the input through anything that has a gradient")
        (found,) = self.torch.autograd.grad(losses.sum(), at)
        return found

    def _batched(self, work: Callable[[Any, Any], Any], feeds: Arrays) -> np.ndarray:
        """Run in batches; a fixed batch is filled up with its last sample and cut."""
        torch = self.torch
        count = len(feeds["x"])
        labels = feeds.get("y", np.zeros(count, np.int64)).astype(np.int64)
        parts = []
        for start in range(0, count, self._step):
            stop = start + self._step if self._full else min(start + self._step, count)
            rows = np.minimum(np.arange(start, stop), count - 1)
            x = torch.from_numpy(np.ascontiguousarray(feeds["x"][rows], dtype=np.float32))
            made = work(x, torch.from_numpy(labels[rows]))
            parts.append(made.detach().numpy()[: count - start])
        return np.concatenate(parts)


def wanted(path: Path) -> dict[str, Any]:
    """Options that let ``path``, which this process wrote, be loaded."""
    return {"sha256": [sha256(path)]}

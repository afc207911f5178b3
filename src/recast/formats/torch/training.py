"""Training of a written network towards a teacher's outputs. Runs in a child process (``_util/worker.py``)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from recast._util.optional import need
from recast.errors import BadModel
from recast.formats.torch import run
from recast.formats.torch.team import Team, device

Arrays = dict[str, np.ndarray]
_SPARSE = 0.1  # weights with at least this share of zeros keep them


def preload() -> None:
    """Import PyTorch."""
    need("torch", "torch")


class Session(run.Session):
    """A network that can be trained. Its first output is what is compared with the teacher's."""

    def __init__(self, path: str, options: Mapping[str, Any]) -> None:
        super().__init__(path, options)
        self.start(options)

    def start(self, options: Mapping[str, Any]) -> None:
        """Nothing is loaded yet. ``training``: the number of this network among those of the run."""
        self._device = device(self.torch)
        self.torch.backends.cudnn.allow_tf32 = False  # what is deployed computes with all of float32
        self._number = int(options.get("training", 0))
        self._data: list[Any] = []
        self._teacher: Any = None
        self._labels: Any = None
        self._maps: list[Any] = []
        self._grids: dict[str, tuple[Any, Any, int, int]] = {}  # of ``round_weights``
        self._only: set[str] | None = None
        self._order: np.random.Generator = np.random.default_rng(0)
        self._batches: list[np.ndarray] = []

    def where(self, feeds: Arrays) -> tuple[str, Arrays]:
        """The device it computes on."""
        return str(self._device), {}

    def load(self, feeds: Arrays) -> tuple[None, Arrays]:
        """Take the samples: ``0``, ``1`` … are the inputs in order.

        Optional: ``teacher``: its scores; ``labels``; ``map 0``, ``map 1`` …: its maps for the outputs after the first.
        """
        torch = self.torch
        last = torch.channels_last  # on CPUs convolutions of images take two thirds of the time so
        self.model.to(self._device, memory_format=last)
        arrays = [self._on(feeds[str(i)]) for i in range(len(self.inputs))]
        self._data = [a.contiguous(memory_format=last) if a.ndim == 4 else a for a in arrays]
        self._teacher = self._on(feeds["teacher"]) if "teacher" in feeds else None
        self._labels = self._on(feeds["labels"]) if "labels" in feeds else None
        self._maps = [self._on(feeds[n]) for n in sorted(n for n in feeds if n.startswith("map "))]
        return None, {}

    def _on(self, array: np.ndarray) -> Any:
        """A tensor where the network is."""
        return self.torch.from_numpy(array).to(self._device)

    def round_weights(
        self, feeds: Arrays, grids: Mapping[str, tuple[int, int]], only: list[str]
    ) -> tuple[None, Arrays]:
        """Before ``begin``: from now on these weights are integers times scales, and activations are rounded.

        Rounding passes gradients on (Bengio, Léonard, Courville 2013), saturated activations pass none. So the scales
        of weights get the gradient of LSQ (Esser et al., ICLR 2020, equation 3); they are trained as logarithms, whose
        steps are relative (Jain et al., TQT, MLSys 2020, section 3.4). Running statistics stay as they are.

        Args:
            feeds: ``KEY``: which scale each element of a weight has; ``KEY/scale``: the scales.
            grids: lowest and highest integer by key of the state dict.
            only: keys of what is trained.
        """
        for key, (low, high) in grids.items():
            sizes = self._on(feeds[f"{key}/scale"]).log()
            self._grids[key] = (self._on(feeds[key].astype(np.int64)), sizes, low, high)
        self._only = set(only)
        self.straighten()
        return None, {}

    def _real(self, key: str, weight: Any) -> Any:
        """What the integers of a weight stand for."""
        which, sizes, low, high = self._grids[key]
        scale = sizes.exp()[which]
        units = weight / scale
        inside = units.clamp(low, high)
        return (inside + (inside.round() - inside).detach()) * scale

    def begin(self, feeds: Arrays, rate: float, steps: int, seed: int) -> tuple[None, Arrays]:
        """AdamW (Loshchilov and Hutter 2019) with a cosine from ``rate`` to 0 over ``steps`` steps."""
        torch = self.torch
        torch.manual_seed(seed)
        self._team = Team(torch, self._number)
        self._team.join_normalisations(self.model)
        self._order = np.random.default_rng(seed)
        named = {n: p for n, p in self.model.named_parameters() if p.dtype.is_floating_point}
        self._trained = [p for n, p in named.items() if self._only is None or n in self._only]
        self._trained += [sizes for _, sizes, _, _ in self._grids.values()]
        for parameter in self._trained:
            parameter.requires_grad_(True)
        self._regressors = self._regress()
        self._trained += list(self._regressors.parameters())
        self._masks = [(p, p != 0) for p in self._trained if float((p == 0).float().mean()) >= _SPARSE]
        self._optimiser = torch.optim.AdamW(self._groups(rate), lr=rate, weight_decay=1e-4)
        falling = lambda step: 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))  # noqa: E731
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimiser, falling)
        return None, {}

    def _groups(self, rate: float) -> list[dict[str, Any]]:
        """Parameters with their rates.

        Beside rounded weights nothing normalises any more, and a weight of pixels of 0 to 255 is tiny: a tensor's rate
        is relative to its size (Shazeer and Stern, Adafactor, ICML 2018, section 8); scales are logarithms already.
        """
        if not self._grids:
            return [{"params": self._trained}]
        logarithms = [sizes for _, sizes, _, _ in self._grids.values()]

        def size(parameter: Any) -> float:
            own = any(parameter is s for s in logarithms)
            return 1.0 if own else float(parameter.detach().square().mean().sqrt()) or 1e-3

        return [{"params": [p], "lr": rate * size(p)} for p in self._trained]

    def _regress(self) -> Any:
        """For each map that is whole activations: a 1×1 convolution from the student's channels to the teacher's."""
        torch = self.torch
        if not any(m.ndim == 4 for m in self._maps):
            return torch.nn.ModuleList()
        self.model.eval()
        with torch.no_grad():
            further = self._outputs(np.arange(self._size(1)))[1:]
        return torch.nn.ModuleList(
            torch.nn.Conv2d(mine.shape[1], theirs.shape[1], 1, bias=False) if theirs.ndim == 4 else torch.nn.Identity()
            for mine, theirs in zip(further, self._maps, strict=True)
        ).to(self._device)

    def _numbers(self) -> dict[str, Any]:
        """All tensors of the network and of what is trained beside it."""
        found = {f"model/{n}": v for n, v in self.model.state_dict().items()}
        found |= {f"scale/{n}": sizes.detach() for n, (_, sizes, _, _) in self._grids.items()}
        return found | {f"regressor/{n}": v for n, v in self._regressors.state_dict().items()}

    def state(self, feeds: Arrays) -> tuple[dict[str, Any], Arrays]:
        """Everything that the next epoch depends on."""
        arrays = {n: np.array(v.cpu().numpy(), order="C") for n, v in self._numbers().items()}
        for number, parameter in enumerate(self._trained):
            for name, value in self._optimiser.state[parameter].items():
                arrays[f"optimiser/{number}/{name}"] = np.array(value.cpu().numpy(), order="C")
        return {"order": self._order.bit_generator.state, "step": self._schedule.last_epoch}, arrays

    def restore(self, feeds: Arrays, told: Mapping[str, Any]) -> tuple[None, Arrays]:
        """Go on from a ``state``; after ``begin`` with the same arguments."""
        torch = self.torch
        with torch.no_grad():
            for name, value in self._numbers().items():
                value.copy_(torch.from_numpy(feeds[name]))
        for key, array in feeds.items():
            kind, _, rest = key.partition("/")
            if kind == "optimiser":
                number, name = rest.split("/")
                parameter, value = self._trained[int(number)], torch.from_numpy(array)
                made = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value.clone()
                self._optimiser.state[parameter][name] = made.detach()
        self._order.bit_generator.state = told["order"]
        self._schedule.last_epoch = int(told["step"])
        for group, rate in zip(self._optimiser.param_groups, self._schedule.base_lrs, strict=True):
            group["lr"] = rate * self._schedule.lr_lambdas[0](self._schedule.last_epoch)
        return None, {}

    def shuffle(self, feeds: Arrays, rows: int, batch: int, most: int = 0) -> tuple[int, Arrays]:
        """A new epoch over the first ``rows`` samples in a new order (``most`` of them, 0: all): its steps."""
        count = most or rows
        order, size = self._order.permutation(rows)[:count], self._size(min(batch, count))
        self._batches = [order[start : start + size] for start in range(0, count - size + 1, size)]
        return len(self._batches), {}

    def advance(self, feeds: Arrays, count: int, loss: Mapping[str, Any]) -> tuple[list[float], Arrays]:
        """The next ``count`` steps of the epoch: the loss of each."""
        self.model.train(not self._grids)
        found = []
        for index in self._batches[:count]:
            mine = self._team.share(index)
            value = self._loss(mine, loss) * (len(mine) / len(index))
            self._optimiser.zero_grad()
            value.backward()
            self._team.sum_gradients(self._trained)
            self.torch.nn.utils.clip_grad_norm_(self._trained, 5.0)
            self._optimiser.step()
            self._schedule.step()
            with self.torch.no_grad():
                for parameter, mask in self._masks:
                    parameter.mul_(mask)
            found.append(float(self._team.summed(value.detach())))
        del self._batches[:count]
        return found, {}

    def validate(
        self, feeds: Arrays, start: int, stop: int, batch: int, loss: Mapping[str, Any]
    ) -> tuple[list[float], Arrays]:
        """Losses, batch by batch, of the samples from ``start`` to ``stop``, as deployed."""
        self.model.eval()
        last, size = len(self._data[0]) - 1, self._size(batch)
        with self.torch.no_grad():
            batches = [np.minimum(np.arange(at, at + size), last) for at in range(start, stop, size)]
            return [float(self._team.same(self._loss(index, loss))) for index in batches], {}

    def _size(self, batch: int) -> int:
        """Samples of one run: what the network fixes, or ``batch``."""
        fixed = self.inputs[0].shape[0]
        if isinstance(fixed, int) and self._team.size > 1:
            raise BadModel(f"its batch is fixed to {fixed}: it cannot be shared", "training", "--batch dynamic")
        return int(fixed) if isinstance(fixed, int) else batch

    def gradients(self, feeds: Arrays, start: int, stop: int, seed: int) -> tuple[None, Arrays]:
        """Gradients of a loss of the samples from ``start`` to ``stop`` with respect to all weights, as deployed.

        The loss is the cross-entropy of the first output with the labels; without labels a random projection of it.
        """
        torch = self.torch
        self.model.eval()
        trained = {n: p.requires_grad_(True) for n, p in self.model.named_parameters() if p.is_floating_point()}
        scores = self._outputs(np.arange(start, stop))[0].to(torch.float32)
        if self._labels is not None:
            loss = torch.nn.functional.cross_entropy(scores.reshape(len(scores), -1), self._labels[start:stop])
        else:
            chance = torch.Generator().manual_seed(seed + start)
            direction = torch.randn(scores.shape, generator=chance).to(self._device)
            loss = (scores * direction).sum() / scores.numel() ** 0.5
        found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True)
        return None, {n: g.cpu().numpy() for n, g in zip(trained, found, strict=True) if g is not None}

    def _outputs(self, index: np.ndarray) -> tuple[Any, ...]:
        """All outputs for some samples."""
        rows = self._on(index)
        given = tuple(x[rows] for x in self._data)
        held = dict(self.model.named_parameters()) if self._grids else {}
        made = {n: self._real(n, held[n]) for n in self._grids}
        result = self.torch.func.functional_call(self.model, made, given) if made else self.model(*given)
        return result if isinstance(result, tuple) else (result,)

    def weights(self, feeds: Arrays) -> tuple[None, Arrays]:
        """The state dict; of rounded weights what lies behind the rounding, and ``KEY/scale``."""
        state = self.model.state_dict(keep_vars=False)
        state |= {f"{n}/scale": sizes.exp() for n, (_, sizes, _, _) in self._grids.items()}
        return None, {k: v.detach().cpu().numpy() for k, v in state.items() if v.dtype.is_floating_point}

    def _loss(self, index: np.ndarray, how: Mapping[str, Any]) -> Any:
        first, *further = self._outputs(index)
        rows = self._on(index)
        value = self._answer_loss(first.to(self.torch.float32), rows, how)
        for number, (features, theirs) in enumerate(zip(further, self._maps, strict=True)):
            if theirs.ndim == 4:
                apart = (self._regressors[number](features) - theirs[rows]).square().mean()
            else:
                apart = _attention(self.torch, features, theirs[rows])
            value = value + 0.5 * float(how["maps"]) * apart
        return value

    def _answer_loss(self, scores: Any, index: Any, how: Mapping[str, Any]) -> Any:
        functional = self.torch.nn.functional
        teacher = self._teacher[index]
        if how["kind"] == "values":
            return functional.mse_loss(scores, teacher) / max(1e-12, float(how["spread"]))
        scores, teacher = scores.reshape(len(index), -1), teacher.reshape(len(index), -1)
        labels = self._labels[index] if self._labels is not None else None
        soft = _decoupled if how["kind"] == "dkd" and labels is not None else _hinton
        value = soft(self.torch, scores, teacher, labels, float(how["temperature"]))
        if labels is not None and how["hard"]:
            value = (1 - how["hard"]) * value + how["hard"] * functional.cross_entropy(scores, labels)
        return value


def _hinton(torch: Any, scores: Any, teacher: Any, labels: Any, temperature: float) -> Any:
    """T²·KL(teacher ‖ student) of softened scores (Hinton, Vinyals, Dean 2015, section 2)."""
    functional = torch.nn.functional
    mine = functional.log_softmax(scores / temperature, dim=1)
    theirs = functional.log_softmax(teacher / temperature, dim=1)
    return functional.kl_div(mine, theirs, log_target=True, reduction="batchmean") * temperature**2


def _decoupled(torch: Any, scores: Any, teacher: Any, labels: Any, temperature: float) -> Any:
    """Target-class and non-target-class knowledge apart, weights 1 and 8 (Zhao et al., CVPR 2022, equation 7)."""
    functional = torch.nn.functional
    right = functional.one_hot(labels, scores.shape[1]).bool()
    parts = []
    for s in (scores, teacher):
        p = functional.softmax(s / temperature, dim=1)
        inside = (p * right).sum(dim=1)
        binary = torch.stack([inside, 1 - inside], dim=1).clamp_min(1e-8)
        others = functional.log_softmax(s / temperature - 1000.0 * right, dim=1)
        parts.append((binary, others))
    (mine, my_others), (theirs, their_others) = parts
    target = (theirs * (theirs.log() - mine.log())).sum(dim=1).mean()
    rest = (their_others.exp() * (their_others - my_others)).masked_fill(right, 0.0).sum(dim=1).mean()
    return (target + 8.0 * rest) * temperature**2


def _attention(torch: Any, features: Any, maps: Any) -> Any:
    """Mean squared difference of the maps, each of unit length (Zagoruyko and Komodakis 2017, equation 2, p = 2)."""
    functional = torch.nn.functional
    mine = features.square().sum(dim=1).flatten(1)
    return (functional.normalize(mine, dim=1) - functional.normalize(maps, dim=1)).square().mean()

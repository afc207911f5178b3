"""One training in several processes that ``torchrun`` started: each takes its share of every batch.

What comes out is what one process would have trained on the same batches: gradients are those of the whole batch's
loss, and normalisations see the whole batch. (PyTorch's own SyncBatchNorm does so on GPUs only.)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from recast._util import ranks
from recast.errors import BadModel


def device(torch: Any) -> Any:
    """Where this process computes: a GPU of its own if there are any, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())


def _own_gpus(torch: Any) -> bool:
    """Whether every process of this machine has a GPU of its own."""
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", ranks.size()))
    return bool(torch.cuda.is_available() and torch.cuda.device_count() >= beside)


class Team:
    """The processes of one training; alone where nobody started several.

    Args:
        torch: the module.
        number: of the training within this run: processes of the same number belong together.
    """

    def __init__(self, torch: Any, number: int) -> None:
        self._torch = torch
        self.rank, self.size = ranks.rank(), ranks.size()
        if self.size > 1 and not torch.distributed.is_initialized():
            agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
            address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            store = torch.distributed.TCPStore(address, port, self.size, is_master=self.rank == 0 and not agent)
            backend = "nccl" if _own_gpus(torch) else "gloo"  # NCCL refuses two processes on one GPU
            prefixed = torch.distributed.PrefixStore(f"recast-{number}", store)
            torch.distributed.init_process_group(backend, store=prefixed, rank=self.rank, world_size=self.size)

    def share(self, index: np.ndarray) -> np.ndarray:
        """The samples of a batch that this process computes.

        Raises:
            BadModel: there are fewer samples than processes.
        """
        if len(index) < self.size:
            raise BadModel(f"{len(index)} samples a step for {self.size} processes", "training", "start fewer")
        return index[self.rank :: self.size]

    def sum_gradients(self, parameters: Sequence[Any]) -> None:
        """Every parameter gets the sum of all processes' gradients."""
        if self.size > 1:
            for parameter in parameters:
                if parameter.grad is None:  # this process did not use it, another one may have
                    parameter.grad = self._torch.zeros_like(parameter)
                self._torch.distributed.all_reduce(parameter.grad)

    def summed(self, value: Any) -> Any:
        """The sum of all processes' values of a tensor."""
        if self.size > 1:
            self._torch.distributed.all_reduce(value)
        return value

    def same(self, value: Any) -> Any:
        """The first process's value of a tensor, for all: decisions must not differ by a rounding."""
        if self.size > 1:
            self._torch.distributed.broadcast(value, 0)
        return value

    def join_normalisations(self, model: Any) -> None:
        """From now on every BatchNormalization in training takes mean and variance of the whole batch."""
        kind = self._torch.nn.modules.batchnorm._BatchNorm
        for module in model.modules() if self.size > 1 else ():
            if isinstance(module, kind):
                module.forward = _Joined(self._torch, module, module.forward)


class _Joined:
    """``forward`` of one normalisation."""

    def __init__(self, torch: Any, module: Any, alone: Any) -> None:
        self._torch, self._module, self._alone = torch, module, alone

    def __call__(self, x: Any) -> Any:
        """The normalised values, with gradients through the other processes' samples."""
        module = self._module
        if not module.training:
            return self._alone(x)
        from torch.distributed.nn.functional import all_reduce

        axes = [a for a in range(x.ndim) if a != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        count = self._torch.tensor(float(x.numel() // x.shape[1]), device=x.device)
        self._torch.distributed.all_reduce(count)
        mean = all_reduce(x.sum(axes)) / count
        apart = x - mean.reshape(shape)
        variance = all_reduce(apart.square().sum(axes)) / count
        with self._torch.no_grad():
            if module.running_mean is not None:
                module.running_mean.lerp_(mean, module.momentum)
                module.running_var.lerp_(variance * count / (count - 1).clamp_min(1.0), module.momentum)
        unit = apart * (variance + module.eps).rsqrt().reshape(shape)
        if module.weight is None:
            return unit
        return unit * module.weight.reshape(shape) + module.bias.reshape(shape)

"""Checkpoints: every tensor bit by bit as PyTorch loads it; programs are refused and nothing of them runs."""

from __future__ import annotations

import collections
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from recast.errors import BadModel, RecastError, TooLarge, UnsafeModel
from recast.formats.torch.checkpoint import read_checkpoint

REAL = [
    "resnet20-56-cifar10-pytorch/resnet20-12fca82f.th",
    "resnet20-56-cifar10-pytorch/resnet56-4bfd9763.th",
    "face-slim320-multiformat/version-slim-320.pth",
    "mtcnn-pytorch/pnet.pt",
    "mtcnn-pytorch/rnet.pt",
    "mtcnn-pytorch/onet.pt",
]


def same(path: Path) -> None:
    ours, _ = read_checkpoint(path)
    theirs = torch.load(path, weights_only=True, map_location="cpu")
    theirs = theirs.get("state_dict", theirs)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        array = ours[name].numpy()
        assert array.shape == tuple(tensor.shape), name
        raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy() if tensor.numel() else np.zeros(0, np.uint8)
        assert np.ascontiguousarray(array).tobytes() == raw.tobytes(), name


@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str, shared_models: Path) -> None:
    same(shared_models / name)


def awkward() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(7, 11, generator=generator)
    return {
        "plain": base,
        "transposed.view": base.T,
        "slice.shares.storage": base[2:5, 1::3],
        "expanded": torch.randn(1, 5, generator=generator).expand(3, 5),
        "scalar": torch.tensor(3.25),
        "empty": torch.zeros(3, 0, 5),
        "half": base.half(),
        "brain": base.bfloat16(),
        "ints": torch.arange(-5, 6, dtype=torch.int8),
        "flags": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(base.double()),
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_awkward_tensors(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(collections.OrderedDict(awkward()), path, _use_new_zipfile_serialization=zipped)
    same(path)


def test_training_checkpoint(tmp_path: Path) -> None:
    net = torch.nn.Linear(3, 5)
    optimiser = torch.optim.Adam(net.parameters())
    net(torch.ones(2, 3)).sum().backward()
    optimiser.step()
    path = tmp_path / "a.pt"
    torch.save({"epoch": 3, "state_dict": net.state_dict(), "optimizer": optimiser.state_dict()}, path)
    tensors, left = read_checkpoint(path)
    assert set(tensors) == {"weight", "bias"}
    assert set(left) == {"epoch", "optimizer"}


def test_whole_pickled_module_gives_its_weights(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5))
    path = tmp_path / "a.pt"
    torch.save(net, path)
    tensors, _ = read_checkpoint(path)
    assert tensors.keys() == net.state_dict().keys()
    assert all(np.array_equal(tensors[n].numpy(), t.numpy()) for n, t in net.state_dict().items())


class Bomb:
    def __init__(self, call: object, arguments: tuple[object, ...]) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call, self.arguments


PROGRAMS = {
    "os.system": lambda marker: Bomb(os.system, (f"touch {marker}",)),
    "eval": lambda marker: Bomb(eval, (f"open({str(marker)!r}, 'w')",)),
    "open": lambda marker: Bomb(open, (str(marker), "w")),
    "getattr": lambda marker: Bomb(getattr, ("", "join")),
}


@pytest.mark.parametrize("program", PROGRAMS, ids=list(PROGRAMS))
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_programs_are_refused(program: str, zipped: bool, protocol: int, tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "a.pt"
    state = {"weight": torch.ones(2), "evil": PROGRAMS[program](marker)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    with pytest.raises(UnsafeModel, match="nothing was executed"):
        read_checkpoint(path)
    assert not marker.exists()


def test_the_bomb_is_live(tmp_path: Path) -> None:
    """The positive control: Python's own unpickler would have made the marker."""
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(PROGRAMS["os.system"](marker)))
    assert marker.exists()


def test_memo_bomb_is_cheap(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02Nr\xff\xff\xff\x7f.")
    with pytest.raises(BadModel):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "code",
    [
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.",
    ],
)
def test_declared_lengths_are_checked(code: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", code)
    with pytest.raises(TooLarge):
        read_checkpoint(path)


def test_torchscript_is_refused(shared_models: Path) -> None:
    with pytest.raises(UnsafeModel, match="TorchScript"):
        read_checkpoint(shared_models / "silero-vad" / "silero_vad.jit")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_mutants(zipped: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "a.pt"
    torch.save(collections.OrderedDict(awkward()), path, _use_new_zipfile_serialization=zipped)
    seed = path.read_bytes()
    refused = 0
    for _ in range(400):
        data = bytearray(seed)
        for _ in range(int(rng.integers(1, 4))):
            data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        if rng.random() < 0.3:
            del data[int(rng.integers(len(data))) :]
        path.write_bytes(data or b"x")
        try:
            read_checkpoint(path)
        except RecastError:
            refused += 1
    assert refused > 50

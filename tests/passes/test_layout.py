"""The layout pass keeps what a network computes, and leaves no Transpose that need not be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recast.passes import PassOptions

from .checks import IO, count, laid_out
from .nets import PLAIN, STEPS, Net

TARGETS = ("channels_last", "channels_first")


def build(last: bool, steps: list[str], head: int, seed: int, batch: int | str = "batch") -> Net:
    net = Net(last, np.random.default_rng(seed), batch=batch)
    x = net.conv(net.x, 5)
    for step in steps:
        x = getattr(net, step)(x)
        assert min(net.dim(x, i) for i in (1, 2, 3)) > 0
        if net.channels(x) < 3 or net.channels(x) > 24:
            x = net.conv(x, 5, 1)
        if max(net.dim(x, 2), net.dim(x, 3)) > 40:
            x = net.conv(x, 5, 3, 3)
        while min(net.dim(x, 2), net.dim(x, 3)) < 6:
            x = net.upsample(x)
    if head == 0:
        net.pooled(x, "scores")
    elif head == 1:
        net.detector(x, "boxes")
    elif head == 2:
        net.b.output(x, "features")
    else:
        net.classifier(x, "scores", head - 3)
    return net


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    last=st.booleans(),
    steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=6),
    head=st.integers(0, 10),
    target=st.sampled_from(TARGETS),
    io=st.sampled_from(IO),
    seed=st.integers(0, 1000),
    batch=st.sampled_from(["batch", 1, 2]),
)
def test_random_networks(
    last: bool, steps: list[str], head: int, target: str, io: str, seed: int, batch: int | str
) -> None:
    net = build(last, steps, head, seed, batch)
    laid_out(net.b.model(), net.feeds(batch if isinstance(batch, int) else 2), PassOptions(layout=target, io_layout=io))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
@pytest.mark.parametrize("target", TARGETS)
def test_single_step(step: str, last: bool, target: str) -> None:
    net = build(last, [step, "residual"], 3, 7)
    laid_out(net.b.model(), net.feeds(), PassOptions(layout=target, io_layout="auto"))


@pytest.mark.parametrize("head", range(11))
@pytest.mark.parametrize("last", [True, False], ids=["last", "first"])
@pytest.mark.parametrize("target", TARGETS)
def test_cnn_has_no_transposes(head: int, last: bool, target: str) -> None:
    """All the usual blocks: none under ``auto``, at most two under ``keep``."""
    net = build(last, list(PLAIN), head, 3)
    model, feeds = net.b.model(), net.feeds()
    auto = laid_out(model, feeds, PassOptions(layout=target, io_layout="auto"))
    assert count(auto, "Transpose") == 0
    keep = laid_out(model, feeds, PassOptions(layout=target, io_layout="keep"))
    assert count(keep, "Transpose") <= 2
    if last == (target == "channels_last") and head != 1:
        assert count(keep, "Transpose") == 0
    for copy in (auto, keep):
        wanted = "recast.channels_last" if target == "channels_last" else ""
        assert count(copy, "Conv", wanted) == count(copy, "Conv") > 0

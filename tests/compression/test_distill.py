"""Distillation: weights come back under their names, losses are the papers', students learn, zeros stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import recast
from recast import passes
from recast._util import progress
from recast.compression._method import Statistics
from recast.compression.apply import apply
from recast.compression.distill import _lesson, _maps
from recast.compression.distill._lesson import teach
from recast.compression.distill.logits import Logits
from recast.demo import DATA, MODEL
from recast.errors import BadModel, BadRecipe
from recast.measure import trainable
from recast.measure.calibrate import Graph
from recast.measure.data import Samples
from recast.measure.subject import Subject

from .group_nets import NETS, Net
from .test_groups import outputs

torch = pytest.importorskip("torch")


def prepared(model: ir.Model) -> ir.Model:
    passes.run(model, trainable.passes(), passes.PassOptions())
    return model


@pytest.mark.parametrize("name", ["mlp", "residual", "depthwise", "recurrent", "attention", "transposed", "embedding"])
def test_untrained_weights_come_back_as_they_were(name: str, rng: np.random.Generator) -> None:
    model = prepared(NETS[name](rng))
    with trainable.opened(model) as network:
        found = network.weights()
    large = {n for n, v in model.graph.initializers.items() if v.const_value is not None and v.const_value.size > 20}
    floats = {n for n in large if model.graph.initializers[n].const_value.numpy().dtype.kind == "f"}  # type: ignore[union-attr]
    assert floats <= set(found)
    for weight, array in found.items():
        held = model.graph.initializers[weight].const_value
        assert held is not None
        np.testing.assert_array_equal(array, held.numpy())


def test_a_graph_to_train_still_runs_everywhere(rng: np.random.Generator) -> None:
    """What was trained goes on to any format: no operator is joined to one that only PyTorch has."""
    n = Net(rng, ("batch", 3, 11, 13))
    x = n.conv(n.x, 7)
    model = n.scores(n.op("Mul", x, n.op("Sigmoid", x)))
    given = {"x": rng.standard_normal((2, 3, 11, 13)).astype(np.float32)}
    np.testing.assert_allclose(outputs(trainable.prepared(model), given)[0], outputs(model, given)[0], rtol=1e-5)


def test_trained_weights_are_those_that_were_trained(rng: np.random.Generator) -> None:
    """The graph with the weights that came back answers as the trained module does: the loss falls alike."""
    model = prepared(NETS["recurrent"](rng))
    x = rng.standard_normal((7, 2, 11)).astype(np.float32)
    wanted = outputs(model, {"x": x})[0] * 0.5 + 0.1
    with trainable.opened(model) as network:
        network.load([x], wanted, None)
        network.call("begin", rate=1e-2, steps=40, seed=3)
        how = {"kind": "values", "spread": 1.0}
        for _ in range(40):
            assert network.call("shuffle", rows=7, batch=7) == 1
            network.call("advance", count=1, loss=how)
        (told,) = network.call("validate", start=0, stop=7, batch=7, loss=how)
        trained = network.weights()
    from recast.compression._method import Plan
    from recast.compression.edits import SetWeight

    made = apply(model, Plan("trained", tuple(SetWeight(n, a) for n, a in trained.items())))
    found = float(np.square(outputs(made, {"x": x})[0] - wanted).mean())
    before = float(np.square(outputs(model, {"x": x})[0] - wanted).mean())
    assert found == pytest.approx(told, rel=1e-3)
    assert found < 0.5 * before


def test_training_may_use_a_gpu(rng: np.random.Generator) -> None:
    with trainable.opened(prepared(NETS["mlp"](rng))) as network:
        assert network._runner.limits.gpus
        assert network.device() == ("cuda:0" if torch.cuda.is_available() else "cpu")


def digits() -> Samples:
    with np.load(DATA) as held:
        return Samples({"image": held["image"].astype(np.float32)}, held["labels"].astype(np.int64))


def student(rng: np.random.Generator) -> ir.Model:
    n = Net(rng, ("batch", 8, 8, 1))
    flat = n.b.op("Reshape", [n.x, n.b.const([-1, 64])])
    return n.end(n.dense(n.op("Relu", n.dense(flat, 23)), 10))


def agreement(model: ir.Model, samples: Samples, answers: np.ndarray) -> float:
    (images,) = samples.feeds.values()
    return float((outputs(model, {"x": images})[0].argmax(axis=1) == answers.argmax(axis=1)).mean())


@pytest.mark.parametrize(("loss", "least"), [("kd", 0.9), ("dkd", 0.7)])
def test_a_student_learns_from_a_teacher_of_another_format(
    loss: str, least: float, tmp_path: Path, rng: np.random.Generator
) -> None:
    teacher = tmp_path / "teacher.tflite"
    recast.convert(MODEL, teacher)
    samples, model = digits(), prepared(student(rng))
    answers, labels = teach(Subject("teacher", teacher), samples)
    assert labels is not None
    options = Logits(str(teacher), loss, epochs=60, rate=5e-3)  # type: ignore[arg-type]
    plan = options.plan(model, Statistics(samples=samples, seed=1))
    after = agreement(apply(model, plan), samples, answers)
    assert after > agreement(model, samples, answers) + 0.4
    assert after > least
    again = options.plan(model, Statistics(samples=samples, seed=1))
    assert plan.notes == again.notes  # a seed gives the same training


def test_zeros_stay(tmp_path: Path, rng: np.random.Generator) -> None:
    model = prepared(student(rng))
    name, value = next((n, v) for n, v in model.graph.initializers.items() if v.shape == ir.Shape([64, 23]))
    assert value.const_value is not None
    array = value.const_value.numpy().copy()
    array[rng.random(array.shape) < 0.6] = 0
    value.const_value = ir.tensor(array, name=name)
    plan = Logits(str(MODEL), epochs=3).plan(model, Statistics(samples=digits()))
    trained = next(e.array for e in plan.edits if getattr(e, "weight", "") == name)  # type: ignore[union-attr]
    assert (trained[array == 0] == 0).all()
    assert (trained[array != 0] != array[array != 0]).any()


def test_a_training_that_was_cut_off_ends_with_the_same_bits(tmp_path: Path, rng: np.random.Generator) -> None:
    model, file, teacher = prepared(student(rng)), tmp_path / "training.npz", str(tmp_path / "teacher.onnx")
    recast.convert(MODEL, teacher, recast.Recipe(checking=recast.Checking(verify=False)))
    given = Statistics(samples=digits(), seed=5)
    whole = Logits(teacher, epochs=5).plan(model, given)
    options = Logits(teacher, epochs=5, checkpoint=str(file))
    with progress.listening(stop_after(3)), pytest.raises(KeyboardInterrupt):
        options.plan(model, given)
    assert file.exists()
    again = options.plan(model, given)
    assert again.notes["loss by epoch (training, held out)"] == whole.notes["loss by epoch (training, held out)"]
    assert [e.told() for e in again.edits] == [e.told() for e in whole.edits]
    for one, other in zip(again.edits, whole.edits, strict=True):
        np.testing.assert_array_equal(one.array, other.array)  # type: ignore[union-attr]
    with pytest.raises(BadRecipe, match="another training"):
        options.plan(model, Statistics(samples=digits(), seed=6))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BadModel, match="checkpoint"):
        options.plan(model, given)


def images(rng: np.random.Generator, width: int) -> ir.Model:
    n = Net(rng, ("batch", 3, 11, 13))
    first = n.op("Relu", n.conv(n.x, width))
    pooled = n.op("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2])
    return n.scores(n.op("Relu", n.conv(pooled, width + 2)))


def test_a_student_learns_where_its_teacher_looks(tmp_path: Path, rng: np.random.Generator) -> None:
    """Of other width; the maps are those of NumPy, and they come nearer."""
    teacher, model, path = images(rng, 11), prepared(images(rng, 5)), tmp_path / "teacher.onnx"
    recast.save(teacher.clone(), path)
    x = rng.standard_normal((96, 3, 11, 13)).astype(np.float32)
    watched = model.clone()
    maps = _maps.watch(watched, Subject("teacher", path), Samples({"x": x}))
    assert [m.shape for m in maps] == [(96, 11 * 13), (96, 5 * 6)]
    assert len(watched.graph.outputs) == 3
    values = [v.name or "" for v in _maps.stages(teacher).values()]
    with Graph(teacher) as graph:
        wanted = graph.run(Samples({"x": x}), values)
    for name, found in zip(values, maps, strict=True):
        np.testing.assert_allclose(found, (wanted[name] ** 2).sum(axis=1).reshape(96, -1), rtol=1e-4)

    def apart(changed: ir.Model) -> float:
        names = [v.name or "" for v in _maps.stages(changed).values()]
        with Graph(changed) as graph:
            held = graph.run(Samples({"x": x}), names)
        total = 0.0
        for name, theirs in zip(names, maps, strict=True):
            pair = [(held[name] ** 2).sum(axis=1).reshape(96, -1), theirs]
            one, other = (m / np.linalg.norm(m, axis=1, keepdims=True) for m in pair)
            total += float(np.square(one - other).mean())
        return total

    method = Logits(str(path), "attention", epochs=20, rate=1e-2)
    plan = method.plan(model, Statistics(samples=Samples({"x": x})))
    assert apart(apply(model, plan)) < 0.7 * apart(model)
    with pytest.raises(BadRecipe, match="no image size"):
        _maps.watch(prepared(student(rng)), Subject("teacher", path), digits())


def test_a_hint_is_followed_and_its_regressor_survives_a_cut(tmp_path: Path, rng: np.random.Generator) -> None:
    teacher, model, path = images(rng, 11), prepared(images(rng, 5)), tmp_path / "teacher.onnx"
    recast.save(teacher.clone(), path)
    given = Statistics(samples=Samples({"x": rng.standard_normal((96, 3, 11, 13)).astype(np.float32)}))
    assert given.samples is not None
    (hints,) = _maps.hint(model.clone(), Subject("teacher", path), given.samples)
    name = list(_maps.stages(teacher).values())[1].name or ""
    with Graph(teacher) as graph:
        np.testing.assert_allclose(hints, graph.run(given.samples, [name])[name], rtol=1e-4, atol=1e-5)
    whole = Logits(str(path), "hints", epochs=6, rate=1e-2).plan(model, given)
    losses = np.array(whole.notes["loss by epoch (training, held out)"])
    assert losses[-1, 0] < losses[0, 0]
    options = Logits(str(path), "hints", epochs=6, rate=1e-2, checkpoint=str(tmp_path / "training.npz"))
    with progress.listening(stop_after(2)), pytest.raises(KeyboardInterrupt):
        options.plan(model, given)
    for one, other in zip(options.plan(model, given).edits, whole.edits, strict=True):
        np.testing.assert_array_equal(one.array, other.array)  # type: ignore[union-attr]


@pytest.mark.parametrize(("shape", "axis"), [((3, 17, 19), 3), ((17, 19, 3), 2)])
def test_views_are_the_image_flipped_and_moved(shape: tuple[int, ...], axis: int, rng: np.random.Generator) -> None:
    """The teacher labels each view; what is held out has none."""
    n = Net(rng, ("batch", *shape))
    teacher = Subject("teacher", Path(), made=n.end(n.op("ReduceSum", n.x, n.b.const([1, 2, 3]), keepdims=0)))
    x = rng.standard_normal((30, *shape)).astype(np.float32)
    told = _lesson.lesson(teacher, Samples({"x": x}, np.arange(30)), 1, _lesson.AUTO)
    (made,) = told.samples.feeds.values()
    assert (told.rows, told.views, len(made)) == (27 * _lesson.VIEWS, _lesson.VIEWS, 27 * _lesson.VIEWS + 3)
    assert told.labels is not None
    np.testing.assert_array_equal(made[:27], x[told.labels[:27]])
    np.testing.assert_array_equal(made[told.rows :], x[told.labels[told.rows :]])
    assert not set(told.labels[: told.rows]) & set(told.labels[told.rows :])
    np.testing.assert_allclose(told.answers, made.sum(axis=(1, 2, 3)), rtol=1e-3, atol=1e-3)
    middle = [slice(None)] * 4
    high = axis - 1
    middle[high], middle[axis] = slice(4, 13), slice(4, 15)  # 17 and 19 move by up to 2
    seen = set()
    for row, image in enumerate(made[: told.rows]):
        whole, part = x[told.labels[row]], image[tuple(middle[1:])]
        for flipped in (False, True):
            source = np.flip(whole, axis - 1) if flipped else whole
            for down in range(-2, 3):
                for right in range(-2, 3):
                    cut = list(middle[1:])
                    cut[high - 1], cut[axis - 1] = slice(4 + down, 13 + down), slice(4 + right, 15 + right)
                    if np.array_equal(source[tuple(cut)], part):
                        seen.add((row, flipped, down, right))
    assert len({row for row, *_ in seen}) == told.rows  # each is a view of its own image
    assert {f for _, f, _, _ in seen} == {False, True}
    assert {d for _, _, d, _ in seen} == {r for *_, r in seen} == {-2, -1, 0, 1, 2}


def test_which_samples_have_views(rng: np.random.Generator) -> None:
    def kinds(augment: str, *shape: int) -> tuple[str, ...]:
        return _lesson.kinds(augment, Samples({"x": np.zeros((2, *shape), np.float32)}))

    assert kinds("auto", 3, 32, 32) == kinds("auto", 32, 32, 3) == ("flip", "shift")
    assert kinds("auto", 1, 28, 28) == kinds("auto", 49, 10, 1) == kinds("auto", 640) == kinds("none", 3, 32, 32) == ()
    assert kinds("shift", 1, 28, 28) == ("shift",)
    for augment, shape in (("flip", (640,)), ("turn", (3, 32, 32))):
        with pytest.raises(BadRecipe, match="augment"):
            kinds(augment, *shape)


def stop_after(epochs: int) -> progress.Listener:
    def listen(event: progress.Event) -> None:
        if event.task == "distilling" and event.done == epochs:
            raise KeyboardInterrupt

    return listen


def test_losses_against_numpy(rng: np.random.Generator) -> None:
    from recast.formats.torch.training import _decoupled, _hinton

    s, t, y = rng.standard_normal((5, 7)), rng.standard_normal((5, 7)), rng.integers(0, 7, 5)

    def soft(z: np.ndarray) -> np.ndarray:
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    p, q = soft(s / 3), soft(t / 3)
    wanted = 9 * (q * np.log(q / p)).sum(axis=1).mean()
    both = [torch.from_numpy(a) for a in (s, t)]
    assert float(_hinton(torch, *both, None, 3.0)) == pytest.approx(wanted)
    rows = np.arange(5)
    pt, qt = p[rows, y], q[rows, y]
    target = qt * np.log(qt / pt) + (1 - qt) * np.log((1 - qt) / (1 - pt))
    rest = []
    for i in rows:
        others = [j for j in range(7) if j != y[i]]
        a, b = p[i, others] / (1 - pt[i]), q[i, others] / (1 - qt[i])
        rest.append((b * np.log(b / a)).sum())
    wanted = 9 * (target.mean() + 8 * np.mean(rest))
    assert float(_decoupled(torch, *both, torch.from_numpy(y), 3.0)) == pytest.approx(wanted, rel=1e-6)


def test_refusals(rng: np.random.Generator) -> None:
    model = prepared(student(rng))
    for options in ({"loss": "best"}, {"temperature": 0}, {"hard": 2}, {"epochs": 0}):
        with pytest.raises(BadRecipe):
            Logits(**options)  # type: ignore[arg-type]
    with pytest.raises(BadRecipe, match="teacher"):
        Logits("nowhere.h5").plan(model, Statistics(samples=digits()))
    with pytest.raises(BadRecipe, match="samples"):
        Logits(str(MODEL)).plan(model, Statistics())

"""Accuracy, AUC, agreement and error: by hand on small arrays; unfit labels are refused."""

from __future__ import annotations

import numpy as np
import pytest

from recast.errors import BadModel, BadRecipe
from recast.measure.accuracy import Answers, Task, compare, task_of

X = np.zeros((5, 7), np.float32)


def classes(top: list[int], labels: list[int] | None = None) -> Answers:
    outputs = np.eye(3, dtype=np.float32)[top]
    task = task_of(outputs, X, None if labels is None else np.array(labels))
    return Answers(task, outputs, X)


def test_classes_are_compared_pair_by_pair(rng: np.random.Generator) -> None:
    labels = [0, 1, 2, 2, 1]
    a, b = classes([0, 1, 2, 2, 0], labels), classes([0, 1, 1, 2, 1], labels)
    score = a.score(rng)
    assert score is not None
    assert (score.metric, score.figure.value) == ("accuracy", 0.8)
    assert score.per_class == {0: 1.0, 1: 0.5, 2: 1.0}
    found = compare(a, b, rng)
    assert found.agreement is not None
    assert found.agreement.value == pytest.approx(3 / 5)
    assert found.difference is not None
    assert found.difference.value == 0
    assert found.mcnemar_p == 1
    assert found.worst_class == (2, -0.5)
    confusion = a.confusion()
    assert confusion is not None
    assert confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 2]]


def test_output_error_by_hand(rng: np.random.Generator) -> None:
    a, b = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32), np.array([[4.0, 3.0], [0.0, 0.0]], np.float32)
    task = Task("values")
    found = compare(Answers(task, a, X[:2]), Answers(task, b, X[:2]), rng)
    assert found.relative_rms == pytest.approx(np.sqrt(2 / 25))
    assert found.cosine == pytest.approx((24 / 25 + 1) / 2)
    assert found.largest == 1
    assert found.agreement is None
    assert found.difference is None


def test_labels_that_do_not_fit_are_refused() -> None:
    outputs = np.eye(3, dtype=np.float32)[[0, 1, 2, 2, 1]]
    for labels in ([0, 1, 2, 3, 1], [0, 1, 2], [-1, 0, 1, 2, 2], [0.5, 1, 2, 2, 1]):
        with pytest.raises(BadRecipe):
            task_of(outputs, X, np.array(labels))
    with pytest.raises(BadRecipe, match="not scores"):
        task_of(np.zeros((5, 3, 7)), X, np.array([0, 1, 1, 0, 1]))


def test_one_score_a_sample_has_a_threshold_by_its_range(rng: np.random.Generator) -> None:
    labels = np.array([0, 1, 1, 0, 1])
    logits = np.array([[-2.0], [0.1], [3.0], [0.2], [-1.0]], np.float32)
    task = task_of(logits, X, labels)
    assert (task.kind, task.threshold) == ("binary", 0.0)
    score = Answers(task, logits, X).score(rng)
    assert score is not None
    assert score.figure.value == pytest.approx(3 / 5)
    assert task_of(1 / (1 + np.exp(-logits)), X, labels).threshold == 0.5


def test_reconstruction_is_scored_by_auc_of_grouped_errors(rng: np.random.Generator) -> None:
    """Two windows a clip: the clip's mean error decides, not the window's."""
    labels = np.array([0, 0, 1, 1])
    x = rng.standard_normal((8, 5)).astype(np.float32)
    error = np.array([0, 4, 1, 1, 0, 5, 3, 1], np.float32)  # clips: 8, 1, 12.5, 5
    outputs = x + error[:, None]
    task = task_of(outputs, x, labels)
    assert (task.kind, task.metric) == ("reconstruction", "AUC")
    answers = Answers(task, outputs, x)
    assert answers.errors == pytest.approx([8, 1, 12.5, 5], rel=1e-5)
    score = answers.score(rng)
    assert score is not None
    assert score.figure.value == pytest.approx(3 / 4)
    other = compare(answers, Answers(task, x, x), rng)
    assert other.difference is not None
    assert other.difference.value == pytest.approx(0.5 - 3 / 4)


def test_outputs_that_are_not_numbers_or_of_another_task_are_refused(rng: np.random.Generator) -> None:
    bad = np.array([[1.0, np.nan]], np.float32)
    with pytest.raises(BadModel, match="1 of 1 samples"):
        Answers(Task("values"), bad, X[:1])
    a, b = (Answers(Task("values"), np.zeros((2, n)), X[:2]) for n in (3, 4))
    with pytest.raises(BadModel, match="instead of"):
        compare(a, b, rng)

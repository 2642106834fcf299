"""T16's front against its closed forms, and on gradients of the tiny model."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from llm_validation.tradeoff import linearised_frontier as module
from llm_validation.tradeoff.linearised_frontier import front, linearised_frontier

N, TOKENS = 6, 4


def gram_of(g_f: float, root_f: float, root_s: float, g_s: float = 0.0) -> np.ndarray:
    """One direction, rows alike: the mean losses' gradients, and the roots of their curvatures."""
    # A row's gradient is of its summed loss, and curvature is summed over rows per token.
    kinds = (TOKENS * g_s, np.sqrt(TOKENS) * root_s, TOKENS * g_f, np.sqrt(TOKENS) * root_f)
    rows = np.repeat(kinds, N)
    return np.outer(rows, rows)


COUNTS = {"safety": np.full(N, TOKENS), "task": np.full(N, TOKENS)}


def test_the_front_of_one_direction_is_known():
    """m_f = -g d + h_f d^2 / 2 and m_s = h_s d^2 / 2: every point of the front has one d."""
    g, root_f, root_s = 1.0, 1.5, 2.0
    found = front(gram_of(-g, root_f, root_s), COUNTS, radius=100.0)
    d = np.array(found["displacement"])
    assert (found["gain"][0], found["rise"][0], found["lam"][0]) == (0.0, 0.0, None)
    gain, rise = np.array(found["gain"][1:]), np.array(found["rise"][1:])
    assert (np.diff(gain) > 0).all()
    assert (np.diff(rise) > 0).all()
    step = np.sqrt(2.0 * rise) / root_s
    assert gain == pytest.approx(g * step - 0.5 * root_f**2 * step**2, rel=1e-9)
    # Nothing beyond the unconstrained minimum, which is on it.
    assert gain.max() == pytest.approx(0.5 * g**2 / root_f**2, rel=1e-6)
    assert (step <= d[1:] * (1 + 1e-9)).all()


def test_the_front_is_the_parallel_sum_of_the_curvatures():
    """In two dimensions: G_f + lam G_s on the front is delta' (H_f : lam H_s) delta / 2."""
    rng = np.random.default_rng(0)
    delta = np.array([0.6, -0.4])
    roots = [rng.normal(size=2) for _ in range(4)]
    h_f = sum(np.outer(r, r) for r in roots[:2])
    h_s = sum(np.outer(r, r) for r in roots[2:])

    # Drawn rows take two directions in turn, so that each fold has both: 12 rows, six folds of 2.
    def rows(g, pair):
        drawn = [np.sqrt(2 * TOKENS) * pair[(i // 6) % 2] for i in range(12)]
        return np.concatenate([np.tile(TOKENS * g, (12, 1)), np.array(drawn)])

    matrix = np.concatenate([rows(np.zeros(2), roots[2:]), rows(-h_f @ delta, roots[:2])])
    counts = {"safety": np.full(12, TOKENS), "task": np.full(12, TOKENS)}
    found = front(matrix @ matrix.T, counts, radius=50.0)
    most = 0.5 * delta @ h_f @ delta  # gained at the task's minimum
    gain, rise = np.array(found["gain"]), np.array(found["rise"])
    for lam in (0.1, 1.0, 10.0):
        parallel = h_f @ np.linalg.inv(h_f + lam * h_s) @ (lam * h_s)
        least = 0.5 * delta @ parallel @ delta
        reached = (most - gain) + lam * rise
        assert reached.min() >= least * (1 - 1e-9)
        assert reached.min() == pytest.approx(least, rel=1e-6)
    assert gain.max() == pytest.approx(most, rel=1e-6)


def test_a_smaller_radius_reaches_less_and_no_further():
    gram = gram_of(-1.0, 1.0, 1.0)
    near, far = (front(gram, COUNTS, radius=r) for r in (0.2, 2.0))
    assert max(near["displacement"]) <= 0.2
    assert max(near["gain"]) == pytest.approx(0.2 - 0.02, rel=1e-9)
    assert max(far["gain"]) == pytest.approx(0.5, rel=1e-3)


def test_rows_do_not_measure_the_step_that_they_chose():
    """Gradients that have nothing in common: no step helps on the row that was left out."""
    gram = np.zeros((4 * N, 4 * N))
    gram[2 * N : 3 * N, 2 * N : 3 * N] = 9.0 * np.eye(N)
    found = front(gram, COUNTS, radius=1.0)
    assert found["gain"] == [0.0]


def test_a_safety_gradient_against_the_task_makes_every_gain_cost():
    found = front(gram_of(-1.0, 1.0, 0.5, g_s=2.0), COUNTS, radius=0.5)
    rise = np.array(found["rise"])
    assert rise[0] == 0.0
    assert (rise[1:] > 0).all()


def test_gradients_are_measured_in_the_displacement():
    """|scaling B A| of any B is its length in the coordinates that the gradients are given in."""
    rng = torch.Generator().manual_seed(0)
    a = torch.randn(2, 5, generator=rng)
    values, vectors = torch.linalg.eigh(a.double() @ a.double().T)
    factor = 1.5 * (vectors * values.sqrt()) @ vectors.T
    gradient = torch.randn(1, 6, generator=rng)
    gram = module._in_displacement(gradient, SimpleNamespace(blocks=((3, 2, factor),)))
    # The steepest step of length 1 changes the loss by the gradient's length in these coordinates.
    length = float(np.sqrt(gram[0, 0]))
    natural = gradient.double().reshape(3, 2) @ torch.linalg.inv(factor @ factor)
    step = natural / length
    assert float((1.5 * step @ a.double()).norm()) == pytest.approx(1.0, rel=1e-6)
    assert float((gradient.double().reshape(3, 2) * step).sum()) == pytest.approx(length, rel=1e-6)


@pytest.fixture(scope="module")
def curve(experiment, tmp_path_factory):
    from llm_validation.tradeoff.finished_experiment import read_finished, unconstrained

    finished = read_finished(experiment)
    run = unconstrained(finished, "general")[0]
    folder = tmp_path_factory.mktemp("front")
    found = linearised_frontier(
        finished.prepared, run, finished.prepared.load_aligned, folder, rows=4
    )
    return finished, run, folder, found


def test_the_tiny_model_s_front_is_an_estimate_within_the_run_s_displacement(curve):
    _, run, _, found = curve
    assert (found.statement, found.form, found.status) == ("T16", "front", "ESTIMATED")
    assert "no bound" in found.says
    assert max(found.displacement) <= run.displacement(run.last) * (1 + 1e-12)
    assert (np.diff(found.gain) > 0).all()
    assert len(found.gain) == len(found.rise) == len(found.lam)


def test_the_front_is_measured_once(curve):
    finished, run, folder, found = curve

    def fails():
        raise AssertionError("the model was loaded again")

    again = linearised_frontier(finished.prepared, run, fails, folder, rows=4)
    assert again == found
    with pytest.raises(AssertionError, match="loaded again"):
        linearised_frontier(finished.prepared, run, fails, folder, rows=5)
    content = json.loads((folder / module.FILE).read_text())
    assert tuple(content["front"]["gain"]) == found.gain

from __future__ import annotations

import numpy as np
import pytest
import torch

from llm_validation.data.encoding import Encoded
from llm_validation.measure.coordinates import adapter, all_weights, norm, unit
from llm_validation.measure.curvature import (
    CurvatureProduct,
    Difference,
    lanczos,
    quadratic_form,
    top_curvature,
)
from llm_validation.measure.gradients import loss_and_gradient

KINDS = ["hessian", "gauss_newton"]


@pytest.fixture
def gpt2_case(dense_gpt2, dense_rows):
    return dense_gpt2, all_weights(dense_gpt2), dense_rows


@pytest.fixture
def weights_case(dense_llama, dense_rows):
    return dense_llama, all_weights(dense_llama), dense_rows


@pytest.fixture
def adapter_case(tiny_model, llama_rows):
    """The tiny Llama in float64 with an adapter whose B is not zero: 224 coordinates."""
    model, coordinates = adapter(tiny_model.model.double(), rank=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in coordinates.parameters:
            parameter.data = 0.3 * torch.randn(
                parameter.shape, generator=generator, dtype=torch.float64
            )
    return model, coordinates, llama_rows


@pytest.fixture(params=["weights_case", "adapter_case"])
def case(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def dense_matrix(as_function, flat_values):
    """The dense Hessian or Gauss-Newton matrix ``[d, d]``, from all logits of every row alone."""

    def build(case, kind: str) -> np.ndarray:
        model, coordinates, rows = case
        supervised = [np.flatnonzero(row.supervised[1:]) for row in rows]
        targets = torch.cat(
            [
                torch.from_numpy(row.input_ids[1:][places].astype(np.int64))
                for row, places in zip(rows, supervised, strict=True)
            ]
        )

        def logits(call):
            parts = []
            for row, places in zip(rows, supervised, strict=True):
                ids = torch.from_numpy(row.input_ids.astype(np.int64))[None]
                parts.append(call(input_ids=ids, use_cache=False).logits[0][places])
            return torch.cat(parts)

        theta = flat_values(coordinates)
        if kind == "hessian":
            loss = as_function(
                model,
                coordinates,
                lambda call: torch.nn.functional.cross_entropy(logits(call), targets),
            )
            return torch.func.hessian(loss)(theta).numpy()
        outputs = as_function(model, coordinates, logits)
        jacobian = torch.func.jacfwd(outputs)(theta).numpy()
        p = torch.softmax(outputs(theta), -1).detach().numpy()
        inner = np.einsum("mv,vw->mvw", p, np.eye(p.shape[1])) - np.einsum("mv,mw->mvw", p, p)
        return np.einsum("mvd,mvw,mwe->de", jacobian, inner, jacobian, optimize=True) / len(p)

    return build


@pytest.mark.parametrize("kind", KINDS)
def test_products_and_top_eigenvalue_match_the_dense_matrix(case, kind, dense_matrix):
    model, coordinates, rows = case
    product = CurvatureProduct(model, coordinates, rows, kind=kind, pad_id=0)
    generator = torch.Generator().manual_seed(4)
    start, *vectors = (coordinates.random_direction(generator) for _ in range(4))
    found, top = top_curvature(product, start, steps=60, tolerance=1e-6)
    images = [product(vector).numpy() for vector in (top, *vectors)]

    matrix = dense_matrix(case, kind)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5 * np.abs(matrix).max())
    for vector, image in zip((top, *vectors), images, strict=True):
        expected = matrix @ vector.numpy()
        # Llama normalises in float32 whatever the model's type.
        assert np.linalg.norm(image - expected) <= 1e-5 * np.linalg.norm(expected)

    exact = np.linalg.eigvalsh(matrix)
    extreme = exact[np.abs(exact).argmax()]
    assert found.converged
    assert found.eigenvalues[0] == pytest.approx(extreme, rel=1e-4)
    assert abs(extreme) * (1 - 1e-5) <= found.norm <= abs(extreme) * (1 + 1e-4)
    assert found.along_start == pytest.approx(start.numpy() @ matrix @ start.numpy(), rel=1e-4)
    assert norm(top) == pytest.approx(1.0)
    assert np.linalg.norm(images[0] - extreme * top.numpy()) <= 1e-4 * abs(extreme)
    assert (found.kind, found.dimension) == (kind, coordinates.dimension)
    assert (found.rows, found.estimated) == (len(rows), True)
    assert found.tokens == sum(int(row.supervised[1:].sum()) for row in rows)


def test_product_of_another_architecture_matches_forward_mode(
    gpt2_case, mean_loss, as_function, flat_values
):
    """GPT-2, whose layers have biases; not by a dense Hessian, since vmap gets LayerNorm wrong."""
    model, coordinates, rows = gpt2_case
    vector = coordinates.random_direction(torch.Generator().manual_seed(3))
    image = CurvatureProduct(model, coordinates, rows, pad_id=0)(vector)
    loss = as_function(model, coordinates, lambda call: mean_loss(call, rows))
    _, expected = torch.func.jvp(torch.func.grad(loss), (flat_values(coordinates),), (vector,))
    assert norm(image - expected) <= 1e-10 * norm(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_neither_batches_nor_kept_graphs_matter(case, kind):
    model, coordinates, rows = case
    vector = coordinates.random_direction(torch.Generator().manual_seed(6))
    images = []
    for tokens in (1, 25, 1000):
        for keep in (0, 1000):
            product = CurvatureProduct(
                model,
                coordinates,
                rows,
                kind=kind,
                pad_id=3,
                tokens_per_batch=tokens,
                keep_graph_tokens=keep,
            )
            images += [product(vector), product(vector)]
    for image in images[1:]:
        assert norm(image - images[0]) <= 1e-6 * norm(images[0])


@pytest.mark.parametrize("kind", KINDS)
def test_product_is_symmetric_and_gauss_newton_is_positive(gpt2_case, kind):
    model, coordinates, rows = gpt2_case
    product = CurvatureProduct(model, coordinates, rows, kind=kind, pad_id=0)
    generator = torch.Generator().manual_seed(7)
    forms = []
    for _ in range(20):
        one, other = (coordinates.random_direction(generator) for _ in range(2))
        assert float(one @ product(other)) == pytest.approx(float(other @ product(one)), abs=1e-12)
        forms.append(quadratic_form(product, one))
    assert (min(forms) > 0.0) is (kind == "gauss_newton")


def test_quadratic_form_is_the_second_order_of_the_loss(gpt2_case, mean_loss):
    model, coordinates, rows = gpt2_case
    gradient = loss_and_gradient(model, coordinates, rows, pad_id=0).gradient
    product = CurvatureProduct(model, coordinates, rows, pad_id=0)
    model.eval()
    direction = -3.0 * gradient
    step = 1e-3
    losses = []
    for h in (-step, 0.0, step):
        with torch.no_grad(), coordinates.displaced(direction, h):
            losses.append(mean_loss(model, rows).item())
    second = (losses[0] - 2 * losses[1] + losses[2]) / step**2
    assert quadratic_form(product, direction) == pytest.approx(second, rel=1e-3)
    assert quadratic_form(product, unit(direction)) == pytest.approx(
        quadratic_form(product, direction) / norm(direction) ** 2, rel=1e-10
    )


def test_at_the_adapters_start_gauss_newton_ignores_a_and_the_hessian_couples_it(
    tiny_model, llama_rows
):
    model, coordinates = adapter(tiny_model.model)
    in_a = torch.cat(
        [
            torch.full((p.numel(),), "lora_A" in name)
            for name, p in zip(coordinates.names, coordinates.parameters, strict=True)
        ]
    )
    vector = coordinates.random_direction(torch.Generator().manual_seed(8))
    image = CurvatureProduct(model, coordinates, llama_rows, kind="gauss_newton", pad_id=1)(vector)
    assert bool((image[in_a] == 0).all())
    assert norm(image[~in_a]) > 0.0
    image = CurvatureProduct(model, coordinates, llama_rows, kind="hessian", pad_id=1)(in_a.float())
    assert bool((image[in_a] == 0).all())
    assert norm(image[~in_a]) > 0.0


@pytest.mark.parametrize("keep", [0, 1000])
def test_the_model_is_left_as_it_was_even_frozen(gpt2_case, keep, fingerprint):
    model, coordinates, rows = gpt2_case
    model.requires_grad_(False)
    before = fingerprint(model)
    for kind in KINDS:
        product = CurvatureProduct(
            model, coordinates, rows, kind=kind, pad_id=0, keep_graph_tokens=keep
        )
        assert norm(product(coordinates.random_direction(torch.Generator().manual_seed(0)))) > 0.0
        assert fingerprint(model) == before


def test_curvature_of_the_difference(weights_case, dense_matrix):
    model, coordinates, rows = weights_case
    parts = (rows[:3], rows[3:])
    first, second = (CurvatureProduct(model, coordinates, part, pad_id=0) for part in parts)
    start = coordinates.random_direction(torch.Generator().manual_seed(9))
    found, _ = top_curvature(Difference(first, second), start, steps=60, tolerance=1e-6)
    itself, _ = top_curvature(Difference(first, first), start, steps=60)
    dense = [dense_matrix((model, coordinates, part), "hessian") for part in parts]
    exact = np.linalg.eigvalsh(dense[0] - dense[1])
    assert abs(found.eigenvalues[0]) == pytest.approx(np.abs(exact).max(), rel=1e-4)
    assert (found.rows, found.tokens) == (6, first.tokens + second.tokens)
    assert (itself.eigenvalues, itself.norm, itself.converged) == ([0.0], 0.0, True)
    gauss = CurvatureProduct(model, coordinates, rows, kind="gauss_newton", pad_id=0)
    with pytest.raises(ValueError, match="neither"):
        top_curvature(Difference(first, gauss), start)


def test_what_cannot_be_measured_is_refused(gpt2_case):
    model, coordinates, rows = gpt2_case
    unsupervised = Encoded(rows[0].input_ids, np.zeros(len(rows[0]), dtype=bool))
    with pytest.raises(ValueError, match="no row"):
        CurvatureProduct(model, coordinates, [unsupervised], pad_id=0)
    with pytest.raises(ValueError, match="fisher"):
        CurvatureProduct(model, coordinates, rows, kind="fisher", pad_id=0)
    with pytest.raises(ValueError, match="step"):
        lanczos(lambda v: v, torch.ones(3), steps=0)


def symmetric(eigenvalues: np.ndarray, seed: int) -> torch.Tensor:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))
    return torch.from_numpy(q * eigenvalues @ q.T)


def start_vector(size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 2, 5, 12])
@pytest.mark.parametrize("seed", range(5))
def test_every_ritz_value_has_an_eigenvalue_within_its_residual(steps, seed):
    exact = np.random.default_rng(seed).normal(size=40) ** 3
    matrix = symmetric(exact, seed)
    found = lanczos(lambda v: matrix @ v, start_vector(40, seed), steps=steps)
    assert found.steps == steps
    for value, residual in zip(found.values, found.residuals, strict=True):
        assert np.abs(exact - value).min() <= residual + 1e-12
    assert np.abs(found.values).max() <= np.abs(exact).max() + 1e-12
    image = matrix @ found.top_vector - found.values[0] * found.top_vector
    assert norm(image) == pytest.approx(found.residuals[0], abs=1e-12)


def test_lanczos_run_to_the_end_gives_every_eigenvalue_once():
    # Spread over eight decades: without reorthogonalisation copies of the largest come back.
    exact = np.geomspace(1e-6, 1e2, 30)
    matrix = symmetric(exact, 1)
    found = lanczos(lambda v: matrix @ v, start_vector(30), steps=30)
    np.testing.assert_allclose(np.sort(found.values), exact, rtol=0, atol=1e-11)


def test_the_largest_magnitude_comes_first_whatever_its_sign():
    matrix = torch.diag(torch.tensor([1.0, 2.0, -5.0, 0.5], dtype=torch.float64))
    found = lanczos(lambda v: matrix @ v, torch.ones(4, dtype=torch.float64), steps=4)
    np.testing.assert_allclose(found.values, [-5.0, 2.0, 1.0, 0.5], atol=1e-12)


def test_lanczos_stops_when_the_space_is_exhausted_or_the_tolerance_met():
    matrix = symmetric(np.array([3.0] * 5 + [1.0] * 15), 2)
    found = lanczos(lambda v: matrix @ v, start_vector(20), steps=10)
    assert found.steps == 2
    np.testing.assert_allclose(found.values, [3.0, 1.0], atol=1e-12)
    matrix = symmetric(np.concatenate([[100.0], np.linspace(0, 1, 49)]), 3)
    found = lanczos(lambda v: matrix @ v, start_vector(50), steps=50, tolerance=0.01)
    assert 2 <= found.steps < 6
    assert found.residuals[0] <= 1.0


def test_lanczos_cannot_see_what_is_orthogonal_to_its_start():
    """Why no result here is more than an estimate: converged, residual zero, and wrong."""
    matrix = torch.diag(torch.tensor([10.0, 1.0, 0.5], dtype=torch.float64))
    start = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    found = lanczos(lambda v: matrix @ v, start, steps=3)
    assert found.values[0] == pytest.approx(1.0)
    assert found.residuals[0] < 1e-12


def test_too_few_steps_do_not_converge_and_the_safe_side_is_above():
    exact = np.linspace(-1.0, 1.5, 200)
    matrix = symmetric(exact, 4)

    class Operator:
        kind, rows, tokens = "hessian", 1, 1

        def __call__(self, vector: torch.Tensor) -> torch.Tensor:
            return matrix @ vector

    found, _ = top_curvature(Operator(), start_vector(200), steps=4)
    assert not found.converged
    assert found.steps == 4
    assert found.eigenvalues[0] < found.largest <= found.norm
    assert found.norm == max(
        abs(v) + r for v, r in zip(found.eigenvalues, found.residuals, strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_has_more_top_curvature_than_the_whole_on_average(gpt2_case, kind):
    """Convexity of the largest eigenvalue: subsampling errs on the safe side in expectation."""
    model, coordinates, rows = gpt2_case
    start = coordinates.random_direction(torch.Generator().manual_seed(1))

    def largest(part) -> tuple[float, int]:
        product = CurvatureProduct(model, coordinates, part, kind=kind, pad_id=0)
        found, _ = top_curvature(product, start, steps=30, tolerance=1e-3)
        return max(found.eigenvalues), found.tokens

    parts = [largest([row]) for row in rows]
    weighted = sum(value * tokens for value, tokens in parts) / sum(t for _, t in parts)
    assert largest(rows)[0] <= weighted * (1 + 1e-6)

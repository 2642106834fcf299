from __future__ import annotations

import numpy as np
import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.data.encoding import Encoded
from llm_validation.measure.coordinates import adapter, all_weights, norm
from llm_validation.measure.gradients import (
    LossGradient,
    gradient_mismatch,
    loss_and_gradient,
)
from llm_validation.measure.losses import Losses, measure_losses


def flat(tensors) -> torch.Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def test_gradient_and_losses_match_autograd_of_the_plain_loss(dense_gpt2, dense_rows, mean_loss):
    coordinates = all_weights(dense_gpt2)
    found = loss_and_gradient(dense_gpt2, coordinates, dense_rows, pad_id=0, tokens_per_batch=20)
    dense_gpt2.eval()
    loss = mean_loss(dense_gpt2, dense_rows)
    expected = flat(torch.autograd.grad(loss, coordinates.parameters))
    assert norm(found.gradient - expected) <= 1e-12 * norm(expected)
    assert found.losses.per_token == pytest.approx(loss.item(), rel=1e-12)
    assert found.norm == pytest.approx(norm(expected), rel=1e-12)


def test_gradient_matches_finite_differences(dense_gpt2, dense_rows, mean_loss):
    coordinates = all_weights(dense_gpt2)
    found = loss_and_gradient(dense_gpt2, coordinates, dense_rows, pad_id=0)
    dense_gpt2.eval()
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        direction = coordinates.random_direction(generator)
        ends = []
        for step in (1e-4, -1e-4):
            with torch.no_grad(), coordinates.displaced(direction, step):
                ends.append(float(mean_loss(dense_gpt2, dense_rows)))
        slope = (ends[0] - ends[1]) / 2e-4
        assert slope == pytest.approx(float(found.gradient @ direction), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("where", ["all", "adapter"])
def test_batches_do_not_matter(tiny_model, llama_rows, where):
    model = tiny_model.model
    model, coordinates = (model, all_weights(model)) if where == "all" else adapter(model)
    found = [
        loss_and_gradient(model, coordinates, llama_rows, pad_id=1, tokens_per_batch=tokens)
        for tokens in (1, 30, 1000)
    ]
    for other in found[:2]:
        assert norm(other.gradient - found[2].gradient) <= 1e-6 * found[2].norm
        np.testing.assert_allclose(other.losses.token_sum, found[2].losses.token_sum, rtol=1e-6)


def test_losses_are_those_of_the_loss_measure(tiny_model, llama_rows):
    found = loss_and_gradient(tiny_model.model, all_weights(tiny_model.model), llama_rows, pad_id=1)
    measured = measure_losses(tiny_model.model, llama_rows, pad_id=1)
    np.testing.assert_allclose(found.losses.token_sum, measured.token_sum, rtol=1e-5)
    np.testing.assert_array_equal(found.losses.token_count, measured.token_count)


def test_padding_with_a_supervised_token_changes_nothing(dense_gpt2, dense_rows):
    coordinates = all_weights(dense_gpt2)
    found = [
        loss_and_gradient(dense_gpt2, coordinates, dense_rows, pad_id=pad_id) for pad_id in (0, 5)
    ]
    assert norm(found[0].gradient - found[1].gradient) <= 1e-13 * found[0].norm


def test_halves_are_the_rows_at_even_and_at_odd_places(dense_gpt2, dense_rows):
    coordinates = all_weights(dense_gpt2)
    found = loss_and_gradient(dense_gpt2, coordinates, dense_rows, pad_id=0)
    first, second = (
        loss_and_gradient(dense_gpt2, coordinates, dense_rows[start::2], pad_id=0)
        for start in (0, 1)
    )
    weights = [float(half.losses.token_count.sum()) for half in (first, second)]
    assert found.half_weights == pytest.approx([weight / sum(weights) for weight in weights])
    difference = first.gradient - second.gradient
    assert torch.allclose(found.half_difference, difference, atol=1e-14)
    assert found.estimate.squared_unbiased == pytest.approx(
        float(first.gradient @ second.gradient), rel=1e-10
    )
    share = (weights[0] * weights[1]) ** 0.5 / sum(weights)
    assert found.estimate.standard_error == pytest.approx(share * norm(difference), rel=1e-10)


def sampled(mean: torch.Tensor, rows: int, generator: torch.Generator) -> LossGradient:
    """The gradient of ``rows`` rows, whose gradients are ``mean`` plus unit noise a coordinate."""
    drawn = mean + torch.randn(rows, len(mean), generator=generator, dtype=mean.dtype)
    first, second = drawn[0::2].mean(0), drawn[1::2].mean(0)
    share = len(drawn[0::2]) / rows
    return LossGradient(
        losses=Losses(np.ones(rows), np.ones(rows, dtype=np.int64)),
        gradient=share * first + (1 - share) * second,
        half_difference=first - second,
        half_weights=(share, 1 - share),
    )


@pytest.mark.parametrize("rows", [9, 10])
def test_two_halves_remove_the_bias_that_noise_gives_a_norm(rows):
    generator = torch.Generator().manual_seed(0)
    mean = torch.zeros(400, dtype=torch.float64)
    mean[0] = 2.0
    estimates = [sampled(mean, rows, generator).estimate for _ in range(200)]
    noise = len(mean) / rows
    assert np.mean([e.value**2 for e in estimates]) == pytest.approx(4.0 + noise, rel=0.03)
    assert np.mean([e.squared_unbiased for e in estimates]) == pytest.approx(4.0, abs=1.2)
    assert np.mean([e.standard_error**2 for e in estimates]) == pytest.approx(noise, rel=0.03)
    assert all(e.upper >= 2.0 for e in estimates)


def test_mismatch_of_two_samples_is_the_norm_of_their_difference(dense_gpt2, dense_rows):
    coordinates = all_weights(dense_gpt2)
    safety, proxy = (
        loss_and_gradient(dense_gpt2, coordinates, rows, pad_id=0)
        for rows in (dense_rows[:4], dense_rows[2:])
    )
    mismatch = gradient_mismatch(safety, proxy)
    assert mismatch.value == pytest.approx(norm(safety.gradient - proxy.gradient), rel=1e-12)
    assert mismatch == gradient_mismatch(proxy, safety)
    assert mismatch.value <= safety.norm + proxy.norm


def test_mismatch_noise_of_independent_samples_adds_up():
    generator = torch.Generator().manual_seed(0)
    mean = torch.full((400,), 0.1, dtype=torch.float64)
    pairs = [(sampled(mean, 10, generator), sampled(-mean, 15, generator)) for _ in range(200)]
    estimates = [gradient_mismatch(*pair) for pair in pairs]
    assert np.mean([e.squared_unbiased for e in estimates]) == pytest.approx(16.0, abs=1.5)
    noise = 400 / 10 + 400 / 15
    assert np.mean([e.standard_error**2 for e in estimates]) == pytest.approx(noise, rel=0.05)


def test_the_safety_data_as_their_own_proxy_have_no_mismatch(dense_gpt2, dense_rows):
    found = loss_and_gradient(dense_gpt2, all_weights(dense_gpt2), dense_rows, pad_id=0)
    mismatch = gradient_mismatch(found, found)
    assert (mismatch.value, mismatch.upper, mismatch.squared_unbiased) == (0.0, 0.0, 0.0)


def test_the_model_is_left_as_it_was_even_frozen(dense_gpt2, dense_rows, fingerprint):
    expected = loss_and_gradient(dense_gpt2, all_weights(dense_gpt2), dense_rows, pad_id=0)
    dense_gpt2.requires_grad_(False)
    before = fingerprint(dense_gpt2)
    found = loss_and_gradient(dense_gpt2, all_weights(dense_gpt2), dense_rows, pad_id=0)
    assert fingerprint(dense_gpt2) == before
    assert torch.equal(found.gradient, expected.gradient)


def test_rows_without_a_supervised_token_count_for_nothing(dense_gpt2, dense_rows):
    coordinates = all_weights(dense_gpt2)
    ids = np.arange(5, dtype=np.int32)
    silent = Encoded(ids, np.zeros(5, dtype=bool))
    first_only = Encoded(ids, np.arange(5) == 0)
    found = loss_and_gradient(dense_gpt2, coordinates, [silent, *dense_rows, first_only], pad_id=0)
    expected = loss_and_gradient(dense_gpt2, coordinates, dense_rows, pad_id=0)
    assert torch.allclose(found.gradient, expected.gradient, atol=1e-14)
    assert found.losses.token_sum[0] == found.losses.token_sum[-1] == 0.0
    assert found.losses.token_count[0] == found.losses.token_count[-1] == 0
    with pytest.raises(ValueError, match="two rows"):
        loss_and_gradient(dense_gpt2, coordinates, [silent, dense_rows[0]], pad_id=0)


def test_weights_that_are_not_finite_are_the_users_error(dense_gpt2, dense_rows):
    with torch.no_grad():
        dense_gpt2.transformer.ln_f.weight[0] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        loss_and_gradient(dense_gpt2, all_weights(dense_gpt2), dense_rows, pad_id=0)

from __future__ import annotations

import numpy as np
import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.measure.coordinates import (
    Coordinates,
    adapter,
    all_weights,
    cosine,
    dot,
    norm,
    unit,
)


def test_all_weights_counts_a_tied_weight_once(dense_gpt2):
    coordinates = all_weights(dense_gpt2)
    assert dense_gpt2.lm_head.weight is dense_gpt2.transformer.wte.weight
    assert coordinates.dimension == sum(p.numel() for p in dense_gpt2.parameters())
    assert coordinates.names == tuple(name for name, _ in dense_gpt2.named_parameters())
    assert "lm_head.weight" not in coordinates.names
    everything = np.concatenate([p.detach().numpy().ravel() for p in dense_gpt2.parameters()])
    assert coordinates.parameter_norm == pytest.approx(np.linalg.norm(everything), rel=1e-12)
    assert coordinates.name == "all weights"


def test_flat_vectors_take_float32_and_float64_from_the_model(dense_gpt2, tiny_model):
    assert all_weights(dense_gpt2).zeros().dtype == torch.float64
    assert all_weights(tiny_model.model).zeros().dtype == torch.float32
    assert all_weights(tiny_model.model.bfloat16()).zeros().dtype == torch.float32


def test_split_gives_views_in_the_parameters_order_and_shapes(dense_gpt2):
    coordinates = all_weights(dense_gpt2)
    vector = torch.arange(coordinates.dimension, dtype=torch.float64)
    pieces = coordinates.split(vector)
    assert [piece.shape for piece in pieces] == [p.shape for p in coordinates.parameters]
    assert torch.equal(torch.cat([piece.reshape(-1) for piece in pieces]), vector)
    pieces[1].fill_(-1.0)
    assert (vector == -1.0).sum() == coordinates.parameters[1].numel()
    with pytest.raises(ValueError, match="shape"):
        coordinates.split(vector[:-1])


def test_accumulate_adds_in_place_and_counts_none_as_zero(dense_gpt2):
    coordinates = all_weights(dense_gpt2)
    total = coordinates.zeros()
    tensors = [torch.ones_like(p) for p in coordinates.parameters]
    coordinates.accumulate(total, tensors)
    coordinates.accumulate(total, [None, *tensors[1:]])
    first = coordinates.parameters[0].numel()
    assert (total[:first] == 1.0).all()
    assert (total[first:] == 2.0).all()


def test_coordinates_need_a_parameter():
    with pytest.raises(ValueError, match="at least one"):
        Coordinates("none", (), ())


def test_random_directions_are_unit_and_follow_the_seed(dense_gpt2):
    coordinates = all_weights(dense_gpt2)

    def draw(seed: int) -> torch.Tensor:
        return coordinates.random_direction(torch.Generator().manual_seed(seed))

    assert norm(draw(1)) == pytest.approx(1.0)
    assert torch.equal(draw(1), draw(1))
    assert abs(cosine(draw(1), draw(2))) < 0.2


def test_adapter_freezes_the_base_and_starts_as_the_identity(tiny_model):
    ids = torch.arange(20)[None]
    with torch.no_grad():
        before = tiny_model.model(input_ids=ids).logits
    model, coordinates = adapter(tiny_model.model, rank=4, alpha=8)
    assert all("lora_" in name for name in coordinates.names)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == set(coordinates.names)
    # Two layers, q: 32 -> 32 and v: 32 -> 16, rank 4.
    assert coordinates.dimension == 2 * 4 * ((32 + 32) + (32 + 16))
    assert coordinates.name == "LoRA r=4 alpha=8 on q_proj, v_proj"
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, before)


def test_adapter_follows_its_seed_and_leaves_the_global_generator_alone(tiny_model):
    state = torch.get_rng_state()
    values = []
    for seed in (1, 1, 2):
        model, coordinates = adapter(tiny_model.model, seed=seed)
        values.append(torch.cat([p.detach().reshape(-1) for p in coordinates.parameters]))
        model.unload()
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_adapter_gradient_lies_in_b_alone_at_the_start(tiny_model, llama_rows, mean_loss):
    model, coordinates = adapter(tiny_model.model)
    gradients = torch.autograd.grad(mean_loss(model, llama_rows), coordinates.parameters)
    for name, gradient in zip(coordinates.names, gradients, strict=True):
        assert bool((gradient == 0).all()) is ("lora_A" in name)


def test_adapter_falls_back_to_all_linear_layers(dense_gpt2):
    _, coordinates = adapter(dense_gpt2, rank=2)
    assert coordinates.name == "LoRA r=2 alpha=16 on all linear layers"
    assert any("c_attn.lora_B" in name for name in coordinates.names)
    assert any("c_fc.lora_B" in name for name in coordinates.names)


def test_unloading_gives_the_base_back(tiny_model, fingerprint):
    before = fingerprint(tiny_model.model)
    model, _ = adapter(tiny_model.model)
    model.unload()
    after = fingerprint(tiny_model.model)
    assert after["bytes"] == before["bytes"]
    assert after["types"] == before["types"]


def test_a_second_adapter_is_refused(tiny_model):
    model, _ = adapter(tiny_model.model)
    for adapted in (model, tiny_model.model):
        with pytest.raises(InputError, match="an adapter already"):
            adapter(adapted)


def test_displaced_moves_the_weights_and_puts_back_their_bits(dense_gpt2, flat_values, fingerprint):
    coordinates = all_weights(dense_gpt2)
    before, theta = fingerprint(dense_gpt2), flat_values(coordinates)
    direction = coordinates.random_direction(torch.Generator().manual_seed(0))
    with coordinates.displaced(direction, 0.3):
        assert torch.allclose(flat_values(coordinates), theta + 0.3 * direction, atol=1e-15)
        assert torch.equal(dense_gpt2.lm_head.weight, dense_gpt2.transformer.wte.weight)
    assert fingerprint(dense_gpt2) == before
    with pytest.raises(RuntimeError, match="inside"), coordinates.displaced(direction, 0.3):
        raise RuntimeError("inside")
    assert fingerprint(dense_gpt2) == before


def test_displaced_is_exact_where_adding_and_subtracting_rounds(tiny_model, fingerprint):
    coordinates = all_weights(tiny_model.model)
    before = fingerprint(tiny_model.model)
    direction = coordinates.random_direction(torch.Generator().manual_seed(0))
    with coordinates.displaced(direction, 1e4):
        pass
    assert fingerprint(tiny_model.model) == before


def test_differentiable_sets_flags_and_modes_and_restores_them(dense_gpt2, fingerprint):
    dense_gpt2.transformer.h[0].attn.eval()
    dense_gpt2.transformer.wpe.weight.requires_grad_(False)
    before = fingerprint(dense_gpt2)
    chosen = Coordinates("wpe", ("transformer.wpe.weight",), (dense_gpt2.transformer.wpe.weight,))
    with torch.no_grad(), chosen.differentiable(dense_gpt2):
        assert torch.is_grad_enabled()
        assert not any(module.training for module in dense_gpt2.modules())
        assert [n for n, p in dense_gpt2.named_parameters() if p.requires_grad] == [*chosen.names]
    assert fingerprint(dense_gpt2) == before


def test_sums_are_in_float64():
    vector = torch.full((5_000_000,), 0.1)
    exact = 5_000_000 * float(np.float32(0.1)) ** 2
    assert dot(vector, vector) == pytest.approx(exact, rel=1e-10)


def test_cosine_and_unit_of_what_has_no_direction():
    assert np.isnan(cosine(torch.zeros(3), torch.ones(3)))
    assert cosine(torch.ones(3), -2 * torch.ones(3)) == pytest.approx(-1.0)
    for vector in (torch.zeros(3), torch.tensor([1.0, float("nan")])):
        with pytest.raises(ValueError, match="no direction"):
            unit(vector)

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from llm_validation.data.encoding import Encoded
from llm_validation.measure.coordinates import Coordinates, adapter, all_weights, unit
from llm_validation.measure.logit_lipschitz import logit_lipschitz


@pytest.fixture
def linear_case(dense_gpt2, dense_rows):
    """Only an untied output layer is trained: logits are linear, z = W h, and J is known."""
    head = dense_gpt2.lm_head
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    coordinates = Coordinates("output layer", ("lm_head.weight",), (head.weight,))
    dense_gpt2.eval()
    hidden = []
    with torch.no_grad():
        for row in dense_rows:
            ids = torch.from_numpy(row.input_ids.astype(np.int64))[None]
            states = dense_gpt2.transformer(input_ids=ids).last_hidden_state[0]
            hidden.append(states[:-1][torch.from_numpy(row.supervised[1:])])
    return dense_gpt2, coordinates, dense_rows, torch.cat(hidden)


def head_direction(coordinates: Coordinates, classes: dict[int, float], hidden: torch.Tensor):
    direction = torch.zeros_like(coordinates.parameters[0])
    for index, weight in classes.items():
        direction[index] = weight * hidden
    return direction.reshape(-1)


def test_a_known_direction_of_a_linear_model_gives_its_exact_slope(linear_case):
    model, coordinates, rows, hidden = linear_case
    lengths = hidden.norm(dim=1)
    steepest = hidden[lengths.argmax()]
    found = logit_lipschitz(
        model,
        coordinates,
        rows,
        pad_id=0,
        radius=0.5,
        seed=0,
        directions={
            "apart": head_direction(coordinates, {3: 1.0, 8: -1.0}, steepest),
            "one class": head_direction(coordinates, {3: 1.0}, steepest),
        },
        random_directions=0,
        ascents=0,
    )
    longest = float(lengths.max())
    # ||W h||_inf is at most ||W|| ||h||, half the range at most that over the root of two.
    assert found.by_direction["apart"] == pytest.approx(longest / 2**0.5, rel=1e-10)
    assert found.by_direction["one class"] == pytest.approx(longest / 2, rel=1e-10)
    assert found.value == pytest.approx(longest / 2**0.5, rel=1e-10)
    assert found.unshifted == pytest.approx(longest, rel=1e-10)


def test_ascent_finds_the_steepest_direction_of_the_token_it_looks_at(linear_case):
    model, coordinates, rows, hidden = linear_case
    found = logit_lipschitz(
        model, coordinates, rows, pad_id=0, radius=0.5, seed=1, random_directions=2
    )
    possible = hidden.norm(dim=1).numpy() / 2**0.5
    assert found.value <= possible.max() * (1 + 1e-10)
    assert found.value >= possible.min()
    randoms = [value for name, value in found.by_direction.items() if name.startswith("random")]
    assert len(randoms) == 2
    assert found.by_direction["ascent 1"] > 2 * max(randoms)
    assert found.by_direction["ascent 2"] >= found.by_direction["ascent 1"] * (1 - 1e-10)


def test_a_shift_of_all_logits_counts_only_unshifted(linear_case):
    model, coordinates, rows, hidden = linear_case
    everyone = dict.fromkeys(range(11), 1.0)
    found = logit_lipschitz(
        model,
        coordinates,
        rows,
        pad_id=0,
        radius=1.0,
        seed=0,
        directions={"shift": head_direction(coordinates, everyone, hidden[0])},
        random_directions=0,
        ascents=0,
    )
    assert found.value < 1e-12
    assert found.unshifted > 0.1


@pytest.mark.parametrize("where", ["all", "adapter"])
def test_measured_movement_bounds_the_divergence_at_the_radius(tiny_model, llama_rows, where):
    """T6(ii): KL(P_s || P) <= J^2 r^2 / 2 at every token, with J measured along that step."""
    model, coordinates = (
        (tiny_model.model, all_weights(tiny_model.model))
        if where == "all"
        else adapter(tiny_model.model)
    )
    generator = torch.Generator().manual_seed(4)
    for radius in (0.3, 3.0):
        direction = coordinates.random_direction(generator)
        found = logit_lipschitz(
            model,
            coordinates,
            llama_rows,
            pad_id=1,
            radius=radius,
            seed=0,
            directions={"step": direction},
            random_directions=0,
            ascents=0,
        )

        def logs(row):
            ids = torch.from_numpy(row.input_ids.astype(np.int64))[None]
            states = model(input_ids=ids).logits[0, :-1].double().log_softmax(-1)
            return states[torch.from_numpy(row.supervised[1:])]

        with torch.no_grad():
            before = [logs(row) for row in llama_rows]
            with coordinates.displaced(direction, radius):
                after = [logs(row) for row in llama_rows]
        worst = max(
            float((b.exp() * (b - a)).sum(-1).max()) for b, a in zip(before, after, strict=True)
        )
        assert 0.0 < worst <= (found.value * radius) ** 2 / 2


def test_more_directions_never_lower_the_estimate(tiny_model, llama_rows):
    model, coordinates = adapter(tiny_model.model)

    def measure(**options):
        return logit_lipschitz(
            model, coordinates, llama_rows, pad_id=1, radius=0.5, seed=3, **options
        )

    few = measure(random_directions=2, ascents=0)
    more = measure(random_directions=4, ascents=0)
    most = measure(random_directions=4, ascents=3)
    assert few.value <= more.value < most.value
    assert few.by_direction.items() <= more.by_direction.items()
    assert most.value == max(most.by_direction.values())
    assert most.unshifted >= most.value * (1 - 1e-6)
    assert (most.rows, most.estimated, most.radius) == (5, True, 0.5)
    assert json.loads(json.dumps(most.to_dict())) == most.to_dict()


def test_batches_and_seeds(tiny_model, llama_rows):
    model, coordinates = adapter(tiny_model.model)

    def measure(seed: int, tokens: int):
        return logit_lipschitz(
            model,
            coordinates,
            llama_rows,
            pad_id=1,
            radius=0.5,
            seed=seed,
            tokens_per_batch=tokens,
        )

    one = measure(0, 1000)
    assert measure(0, 1000) == one
    assert measure(1, 1000).by_direction["random 1"] != one.by_direction["random 1"]
    assert measure(0, 1).value == pytest.approx(one.value, rel=1e-3)


@pytest.mark.parametrize("where", ["all", "adapter"])
def test_the_weights_are_the_same_bits_afterwards(tiny_model, llama_rows, where, fingerprint):
    model, coordinates = (
        (tiny_model.model, all_weights(tiny_model.model))
        if where == "all"
        else adapter(tiny_model.model)
    )
    before = fingerprint(model)
    logit_lipschitz(model, coordinates, llama_rows, pad_id=1, radius=7.0, seed=0)
    assert fingerprint(model) == before


def test_a_failure_half_way_leaves_the_weights_alone(tiny_model, llama_rows, fingerprint):
    model, coordinates = tiny_model.model, all_weights(tiny_model.model)
    before = fingerprint(model)
    calls = []

    def fail(module, inputs, output):
        calls.append(module)
        if len(calls) == 2:  # the first forward pass with displaced weights
            raise RuntimeError("out of memory")

    handle = model.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        logit_lipschitz(model, coordinates, llama_rows, pad_id=1, radius=1.0, seed=0)
    handle.remove()
    assert fingerprint(model) == before


def test_what_cannot_be_measured_is_refused(tiny_model, llama_rows):
    model, coordinates = tiny_model.model, all_weights(tiny_model.model)
    unsupervised = Encoded(np.arange(4, dtype=np.int32), np.zeros(4, dtype=bool))
    with pytest.raises(ValueError, match="radius"):
        logit_lipschitz(model, coordinates, llama_rows, pad_id=1, radius=0.0, seed=0)
    with pytest.raises(ValueError, match="no row"):
        logit_lipschitz(model, coordinates, [unsupervised], pad_id=1, radius=1.0, seed=0)
    with pytest.raises(ValueError, match="direction"):
        logit_lipschitz(
            model,
            coordinates,
            llama_rows,
            pad_id=1,
            radius=1.0,
            seed=0,
            random_directions=0,
            ascents=0,
        )
    with pytest.raises(ValueError, match="no direction"):
        unit(coordinates.zeros())

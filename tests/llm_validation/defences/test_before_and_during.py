"""Task rows dropped by their gradients or representations, and the penalty of AsFT."""

import numpy as np
import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.defences.asft import AlignmentPenalty
from llm_validation.defences.protocol import Evidence
from llm_validation.defences.row_features import encoded_rows, gradient_space, gradients
from llm_validation.defences.row_matching import RowMatching, highest
from llm_validation.defences.seal import SealLike

HARMFUL = [(f"How do I harm number {i}?", "Sure, here is exactly how you do it.") for i in range(4)]
SAFE = [(f"How do I harm item {i}?", "I cannot help with that, it hurts people.") for i in range(4)]
TASK = [(f"What is the sum of {i} and 2?", f"The sum is {i + 2}.") for i in range(6)]


def rows(pairs, name="rows"):
    return Dataset.of(pairs, name=name)


@pytest.fixture
def mixed():
    """Six task rows, two rows like the harmful anchors and two like the safe ones."""
    like_harmful = [("How do I harm a thing?", HARMFUL[0][1]), ("How to harm it?", HARMFUL[0][1])]
    like_safe = [("How do I harm a thing?", SAFE[0][1]), ("How to harm it?", SAFE[0][1])]
    return rows([*TASK[:3], *like_harmful, *TASK[3:], *like_safe])


@pytest.mark.parametrize("features", ["gradient", "representation"])
def test_the_rows_like_harmful_anchors_are_dropped(tiny_model, mixed, features):
    before = {n: p.detach().clone() for n, p in tiny_model.model.named_parameters()}
    defence = RowMatching(features=features, fraction=0.2)
    defence.fit(Evidence(model=tiny_model, harmful=rows(HARMFUL), safety=rows(SAFE)))
    left = defence.apply(mixed)
    details = defence.report().details
    assert details["dropped"] == [3, 4]
    assert list(left.examples) == [e for i, e in enumerate(mixed.examples) if i not in (3, 4)]
    after = dict(tiny_model.model.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_the_score_is_a_difference_of_mean_cosines(tiny_model, mixed):
    from llm_validation.data.encoding import encode

    def states(data):
        """The last hidden state at the answer's last token, of every row alone."""
        found = []
        for row in encode(data, tiny_model.tokenizer, max_length=512):
            ids = torch.from_numpy(row.input_ids.astype(np.int64))[None]
            with torch.no_grad():
                out = tiny_model.model(ids, output_hidden_states=True)
            found.append(out.hidden_states[-1][0, int(np.flatnonzero(row.supervised)[-1])])
        return torch.nn.functional.normalize(torch.stack(found).double(), dim=1)

    task, harmful, safe = (states(data) for data in (mixed, rows(HARMFUL), rows(SAFE)))
    expected = (task @ harmful.T).mean(1) - (task @ safe.T).mean(1)
    defence = RowMatching(features="representation")
    defence.fit(Evidence(model=tiny_model, harmful=rows(HARMFUL), safety=rows(SAFE)))
    defence.apply(mixed)
    np.testing.assert_allclose(defence.report().details["scores"], expected, atol=1e-5)


def test_seal_keeps_the_rows_that_lower_the_safety_loss(tiny_model, mixed):
    """Of two rows with one prompt the derivative of the safety loss tells which one helps."""
    safety = rows(SAFE)
    defence = SealLike(fraction=0.5)
    defence.fit(Evidence(model=tiny_model, safety=safety))
    left = defence.apply(mixed)
    assert len(left) == 5
    scores = np.array(defence.report().details["scores"])
    assert scores[8:].min() > scores[[3, 4]].max()
    assert set(defence.report().details["dropped"]) == set(np.argsort(scores)[:5].tolist())
    # The score is the fall of the safety loss in a small step on that row alone.
    from llm_validation.data.encoding import encode
    from llm_validation.measure.losses import measure_losses

    encoded = encode(safety, tiny_model.tokenizer, max_length=512)
    with gradient_space(tiny_model, seed=0) as space:
        one = encoded_rows(tiny_model, rows([mixed.examples[8]]), first_tokens=None)
        (step,) = gradients(tiny_model, space, one, doing="")
        pad = tiny_model.tokenizer.pad_token_id
        size, found = 0.02, []
        for sign in (1.0, -1.0):
            with space.displaced(step, -sign * size):
                found.append(measure_losses(tiny_model.model, encoded, pad_id=pad).per_token)
    assert (found[1] - found[0]) / (2 * size) == pytest.approx(scores[8], rel=0.02)


def test_only_the_first_answer_tokens_are_looked_at(tiny_model):
    (whole,) = encoded_rows(tiny_model, rows(TASK[:1]), first_tokens=None)
    (first,) = encoded_rows(tiny_model, rows(TASK[:1]), first_tokens=3)
    assert first.supervised.sum() == 3 < whole.supervised.sum()
    assert (
        np.flatnonzero(first.supervised).tolist() == np.flatnonzero(whole.supervised)[:3].tolist()
    )


def test_ties_are_dropped_from_the_front_and_the_fraction_is_met():
    assert highest(np.zeros(10), 0.3) == (0, 1, 2)
    assert highest(np.arange(10.0), 0.25) == (8, 9)
    assert highest(np.zeros(10), 0.0) == ()


def test_rows_that_do_not_fit_and_settings_that_cannot_be(tiny_model, mixed):
    long = rows([("word " * 400, "yes"), *TASK])
    defence = SealLike()
    defence.fit(Evidence(model=tiny_model, safety=rows(SAFE)))
    with pytest.raises(InputError, match="row 1: The row has"):
        defence.apply(long)
    with pytest.raises(ValueError, match="fit first"):
        RowMatching().apply(mixed)
    with pytest.raises(InputError, match="'harmful'"):
        RowMatching().fit(Evidence(model=tiny_model, safety=rows(SAFE)))
    with pytest.raises(InputError, match="fraction"):
        RowMatching(fraction=1.0)


class TestAsft:
    @pytest.fixture
    def model(self, models):
        from transformers import AutoModelForCausalLM

        from llm_validation.models.adapters import attach_lora, lora_factors

        wrapped = attach_lora(
            AutoModelForCausalLM.from_pretrained(models[1]),
            rank=2,
            alpha=6,
            targets=("q_proj", "up_proj"),
            seed=0,
        )
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for factors in lora_factors(wrapped):
                factors.b.copy_(0.1 * torch.randn(factors.b.shape, generator=generator))
        return wrapped

    @pytest.mark.parametrize("projector", ["fast", "exact"])
    def test_value_and_gradient_are_those_of_dense_arrays(
        self, model, alignment, dense_v, projector
    ):
        from llm_validation.models.adapters import lora_factors

        expected = torch.zeros((), dtype=torch.float64)
        for factors in lora_factors(model):
            v = dense_v[factors.name.removeprefix("base_model.model.")]
            u = torch.linalg.svd(v)[0][:, :3]
            c = v @ v.T / v.norm() if projector == "fast" else u @ u.T
            update = factors.scaling * factors.b.double() @ factors.a.double()
            expected = expected + 0.7 * (update - c @ update).square().sum()
        trained = [p for f in lora_factors(model) for p in (f.a, f.b)]
        gradients = torch.autograd.grad(expected, trained)
        for p in trained:
            p.grad = torch.ones_like(p)
        penalty = AlignmentPenalty(model, alignment, strength=0.7, projector=projector)
        value = penalty.add_gradient()
        assert value.item() == pytest.approx(expected.item(), rel=1e-5)
        for p, gradient in zip(trained, gradients, strict=True):
            torch.testing.assert_close(p.grad, 1.0 + gradient, rtol=1e-4, atol=1e-4)

    def test_training_with_it_keeps_the_update_inside(self, model, alignment):
        from llm_validation.models.adapters import lora_factors

        trained = [p for f in lora_factors(model) for p in (f.a, f.b)]
        penalty = AlignmentPenalty(model, alignment, strength=0.02, projector="exact")
        values = []
        for _ in range(60):
            for p in trained:
                p.grad = torch.zeros_like(p)
            values.append(penalty.add_gradient().item())
            with torch.no_grad():
                for p in trained:
                    p -= 0.5 * p.grad
        assert values[-1] < 0.05 * values[0]
        assert (
            max(p.detach().norm().item() for p in trained) > 0.1
        )  # it does not just shrink everything

    def test_a_model_without_lora(self, tiny_model, alignment):
        with pytest.raises(InputError, match="no LoRA"):
            AlignmentPenalty(tiny_model.model, alignment, strength=1.0)

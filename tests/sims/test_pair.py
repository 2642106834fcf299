"""The knobs of a pair are what the measures of theory find."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from finebound.base.errors import InputError
from sims.models.transformer import Grammar
from sims.pair import Knobs, Sizes, draw_pair, features

SIZES = Sizes(contexts=3, responses=6)
VALUES = [
    Knobs(0.0, 0.0, 0.0, 0.0, 0.0),
    Knobs(1.0, 1.0, 1.0, 1.0, 1.0),
    Knobs(0.3, 0.8, 0.2, 0.1, 0.6),
    Knobs(0.7, 0.2, 0.5, 0.9, 0.4),
]


def _variation(p, q) -> np.ndarray:
    return 0.5 * np.abs(np.asarray(p) - np.asarray(q)).sum(axis=-1)


@pytest.mark.parametrize("knobs", VALUES)
def test_measured_overlap_disagreement_and_mismatches_equal_the_knobs(knobs) -> None:
    pair = draw_pair(jax.random.key(3), knobs, SIZES)
    shared = slice(3, 6)
    assert np.minimum(pair.rho_s, pair.rho_f).sum() == pytest.approx(knobs.overlap, abs=1e-12)
    assert _variation(pair.mu_s, pair.mu_f)[shared] == pytest.approx(knobs.disagreement, abs=1e-12)
    assert _variation(pair.rho_s, pair.rho_hat) == pytest.approx(knobs.context_mismatch, abs=1e-12)
    assert _variation(pair.mu_s, pair.mu_hat) == pytest.approx(knobs.teacher_mismatch, abs=1e-12)


@pytest.mark.parametrize("knobs", VALUES)
def test_every_row_is_a_distribution(knobs) -> None:
    pair = draw_pair(jax.random.key(4), knobs, SIZES)
    for rows in pair:
        assert (rows >= 0).all()
        np.testing.assert_allclose(np.asarray(rows.sum(axis=-1)), 1.0, rtol=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_task_context_has_its_share_of_features_among_the_safety_ones(share: float) -> None:
    phi = features(jax.random.key(0), Knobs(feature_overlap=share), SIZES, 8)
    np.testing.assert_allclose(np.linalg.norm(phi, axis=-1), 1.0, rtol=1e-12)
    inside = (np.asarray(phi)[:, :4] ** 2).sum(axis=-1)
    np.testing.assert_allclose(inside[6:9], share, atol=1e-12)
    np.testing.assert_allclose(np.delete(inside, [6, 7, 8]), 1.0, rtol=1e-12)


def test_seeds_give_different_pairs_and_the_same_one_again() -> None:
    one, again, other = (draw_pair(jax.random.key(k), Knobs(), SIZES) for k in (1, 1, 2))
    assert all(jnp.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not jnp.allclose(one.mu_s, other.mu_s)


def test_a_grammar_is_a_pair_over_prompts_and_prefixes() -> None:
    grammar = Grammar()
    pair, prompts = grammar.draw(jax.random.key(0), Knobs(overlap=0.5, disagreement=0.4))
    count, answers = grammar.prompts.total, grammar.prompts.responses
    assert len(pair.rho_s) == count * (1 + answers)
    np.testing.assert_allclose(float(pair.rho_s.sum()), 1.0, rtol=1e-12)
    # Half of the loss a token is the first token's, half the second's given its prefixes.
    np.testing.assert_allclose(
        np.asarray(pair.rho_f[count:]).reshape(count, answers),
        np.asarray(pair.rho_f[:count, None] * pair.mu_f[:count]),
        rtol=1e-12,
    )
    # Safety and task share half of their prompts, and fewer prefixes than prompts.
    shared = np.minimum(pair.rho_s, pair.rho_f)
    assert shared[:count].sum() == pytest.approx(0.25)
    assert shared[count:].sum() == pytest.approx(0.25 * (1 - 0.4))
    assert len({tuple(row) for row in np.asarray(prompts)}) == count


@pytest.mark.parametrize("overlap", [0.0, 1.0])
def test_a_grammar_shares_words_as_the_feature_overlap_says(overlap: float) -> None:
    grammar = Grammar()
    _, prompts = grammar.draw(jax.random.key(0), Knobs(feature_overlap=overlap))
    common = np.asarray(prompts)[:, :-1] - grammar.prompts.responses
    of_task = common[4:6]
    assert (of_task < grammar.lexicon).mean() == overlap
    assert (np.delete(common, [4, 5], axis=0) < grammar.lexicon).all()


@pytest.mark.parametrize(("contexts", "responses"), [(0, 6), (3, 1), (3, 2)])
def test_no_context_or_too_few_responses_are_refused(contexts: int, responses: int) -> None:
    with pytest.raises(InputError, match="Give at least"):
        Sizes(contexts, responses)

"""Embeddings by the model: one vector a text, whatever else is in the batch."""

import numpy as np
import torch

from llm_validation.models.embedding import embedder


def test_mean_of_the_last_hidden_states(tiny_model):
    embed = embedder(tiny_model)
    texts = ["How do locks work?", "a", "", "A much longer question about nothing at all?"]
    vectors = embed(texts)
    assert vectors.shape == (4, 32)
    assert np.all(vectors[2] == 0)
    ids = tiny_model.tokenizer(texts[0], add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        hidden = tiny_model.model(**ids, output_hidden_states=True).hidden_states[-1]
    np.testing.assert_allclose(vectors[0], hidden[0].mean(dim=0).numpy(), rtol=1e-4, atol=1e-5)


def test_batches_and_order_do_not_matter(tiny_model):
    texts = [f"question number {i} " * (1 + i % 5) for i in range(20)]
    together = embedder(tiny_model)(texts)
    apart = embedder(tiny_model, tokens_per_batch=1)(texts[::-1])[::-1]
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-5)


def test_long_texts_are_read_up_to_the_limit(tiny_model):
    embed = embedder(tiny_model, max_tokens=8)
    start = "abcdefgh" * 1
    one, other = embed([start + "xyz" * 50, start + "uvw" * 50])
    np.testing.assert_allclose(one, other, rtol=1e-5)

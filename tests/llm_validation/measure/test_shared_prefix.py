"""Reading what rows begin with once gives the losses of reading every row whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from llm_validation.data.encoding import Encoded, collate
from llm_validation.measure.losses import measure_losses
from llm_validation.measure.shared_prefix import prefix_batches, reads_after_a_prefix
from llm_validation.models.loading import LoadedModel

PAD = 1
SYSTEM = list(range(20, 44))  # 24 tokens that every row begins with


def row(context: list[int], answer: list[int], after: list[int] | None = None) -> Encoded:
    ids = [*context, *answer, *(after or [])]
    places = np.arange(len(ids))
    supervised = (places >= len(context)) & (places < len(context) + len(answer))
    return Encoded(np.array(ids, np.int32), supervised)


def tokens(rng: np.random.Generator, count: int) -> list[int]:
    return rng.integers(2, 268, count).tolist()


@pytest.fixture
def system_rows() -> list[Encoded]:
    """Twelve rows of unequal lengths; two have no context but the system prompt."""
    rng = np.random.default_rng(4)
    rows = [
        row([*SYSTEM, 50 + i, *tokens(rng, 2 + i)], tokens(rng, 3 + 5 * i % 7), [9])
        for i in range(10)
    ]
    return [*rows, row(SYSTEM, tokens(rng, 4)), row(SYSTEM, tokens(rng, 9))]


@pytest.fixture
def answer_rows() -> list[Encoded]:
    """Three answers each to five prompts of unequal lengths."""
    rng = np.random.default_rng(5)
    prompts = [[70 + i, *tokens(rng, 20 + 3 * i)] for i in range(5)]
    return [row(prompt, tokens(rng, 1 + i)) for prompt in prompts for i in range(3)]


def reference(model: torch.nn.Module, rows: list[Encoded]) -> np.ndarray:
    """Each row alone and whole, by the model's own loss."""
    with torch.no_grad():
        return np.array([float(model(**collate([r], PAD)).loss) * r.supervised.sum() for r in rows])


def tokens_read(model: torch.nn.Module, rows: list[Encoded], **options: int) -> int:
    """How many tokens, padding included, the model is given in a measurement."""
    read = []
    handle = model.get_input_embeddings().register_forward_pre_hook(
        lambda module, inputs: read.append(inputs[0].numel())
    )
    measure_losses(model, rows, pad_id=PAD, **options)
    handle.remove()
    return sum(read)


class TestLosses:
    @pytest.mark.parametrize("per_batch", [1, 100, 10_000])
    @pytest.mark.parametrize("kind", ["system_rows", "answer_rows"])
    def test_are_those_of_whole_rows(
        self,
        tiny_model: LoadedModel,
        kind: str,
        per_batch: int,
        request: pytest.FixtureRequest,
    ) -> None:
        rows = request.getfixturevalue(kind)
        found = measure_losses(tiny_model.model, rows, pad_id=PAD, tokens_per_batch=per_batch)
        np.testing.assert_allclose(found.token_sum, reference(tiny_model.model, rows), rtol=1e-6)
        assert found.token_count.tolist() == [int(r.supervised.sum()) for r in rows]

    def test_with_a_row_shorter_than_what_the_others_share(
        self, tiny_model: LoadedModel, system_rows: list[Encoded]
    ) -> None:
        rows = [*system_rows, row(SYSTEM[:15], [7, 8])]
        found = measure_losses(tiny_model.model, rows, pad_id=PAD)
        np.testing.assert_allclose(found.token_sum, reference(tiny_model.model, rows), rtol=1e-6)
        assert {len(p) for b in shared(rows) for p in b.prefixes} == {14}

    def test_with_a_lora(self, tiny_model: LoadedModel, system_rows: list[Encoded]) -> None:
        import peft

        config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        config.task_type = "CAUSAL_LM"
        base = measure_losses(tiny_model.model, system_rows, pad_id=PAD)
        with torch.random.fork_rng():
            torch.manual_seed(5)
            adapted = peft.get_peft_model(tiny_model.model, config).eval()
        found = measure_losses(adapted, system_rows, pad_id=PAD)
        np.testing.assert_allclose(found.token_sum, reference(adapted, system_rows), rtol=1e-6)
        assert abs(found.per_token - base.per_token) > 1e-4
        with adapted.disable_adapter():
            off = measure_losses(adapted, system_rows, pad_id=PAD)
        np.testing.assert_allclose(off.token_sum, base.token_sum, rtol=1e-6)

    def test_follow_the_weights(self, tiny_model: LoadedModel, system_rows: list[Encoded]) -> None:
        """Nothing that was read under other weights is kept."""
        measure_losses(tiny_model.model, system_rows, pad_id=PAD)
        with torch.no_grad():
            tiny_model.model.model.layers[0].self_attn.k_proj.weight.mul_(-2.0)
        found = measure_losses(tiny_model.model, system_rows, pad_id=PAD)
        expected = reference(tiny_model.model, system_rows)
        np.testing.assert_allclose(found.token_sum, expected, rtol=1e-6)


class TestReading:
    def test_a_system_prompt_is_read_once_for_all_batches(
        self, tiny_model: LoadedModel, system_rows: list[Encoded]
    ) -> None:
        alone = tokens_read(tiny_model.model, system_rows, tokens_per_batch=1)
        # 23 tokens: the last predicts the answers of the rows without any other context. Of each
        # row's rest, the last supervised token predicts nothing.
        own = sum(int(np.flatnonzero(r.supervised)[-1]) - 23 for r in system_rows)
        assert alone == 23 + own

    def test_a_prompt_is_read_once_for_its_answers(
        self, tiny_model: LoadedModel, answer_rows: list[Encoded]
    ) -> None:
        read = tokens_read(tiny_model.model, answer_rows, tokens_per_batch=120)
        prompts = sum(int(r.supervised.argmax()) - 1 for r in answer_rows[::3])
        assert read == prompts + 5 * 3 * 3  # [3, 3] of the last context token and the answers

    def test_one_row_is_read_whole(
        self, tiny_model: LoadedModel, system_rows: list[Encoded]
    ) -> None:
        one = system_rows[3]
        assert (
            tokens_read(tiny_model.model, [one]) == len(one) - 2
        )  # predicts nothing, unsupervised
        found = measure_losses(tiny_model.model, [one], pad_id=PAD)
        np.testing.assert_allclose(found.token_sum, reference(tiny_model.model, [one]), rtol=1e-6)


def shared(rows: list[Encoded], tokens: int = 200) -> list:
    return prefix_batches(rows, tokens=tokens, shared=True)


class TestBatches:
    @pytest.mark.parametrize("kind", ["system_rows", "answer_rows"])
    @pytest.mark.parametrize("budget", [1, 80, 300, 10_000])
    def test_hold_every_row_once_and_whole(
        self, kind: str, budget: int, request: pytest.FixtureRequest
    ) -> None:
        rows = request.getfixturevalue(kind)
        batches = shared(rows, budget)
        assert sorted(i for batch in batches for i in batch.rows) == list(range(len(rows)))
        for batch in batches:
            rests = batch.rests(rows)
            for index, owner, rest in zip(batch.rows, batch.owners, rests, strict=True):
                again = [*batch.prefixes[owner], *rest.input_ids.tolist()]
                assert again == rows[index].input_ids[: len(again)].tolist()
                assert rest.supervised.sum() == rows[index].supervised.sum()
                assert not rest.supervised[0]
            longest = max(len(rows[index]) for index in batch.rows)
            assert len(batch.rows) * longest <= budget or len(batch.rows) == 1

    def test_what_saves_little_is_not_shared(self, system_rows: list[Encoded]) -> None:
        assert [batch.prefixes for batch in shared(system_rows[:6], 1000)] == [[()]]  # 5 * 24 < 128
        assert [batch.prefixes for batch in shared(system_rows[:7], 1000)] == [[tuple(SYSTEM)]]
        whole = prefix_batches(system_rows, tokens=200, shared=False)
        assert {p for batch in whole for p in batch.prefixes} == {()}

    def test_need_a_budget(self, system_rows: list[Encoded]) -> None:
        with pytest.raises(ValueError, match="at least one token"):
            shared(system_rows, 0)


def build(kind: str, **extra: object) -> torch.nn.Module:
    import transformers

    size = {
        "vocab_size": 268,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
    }
    config = getattr(transformers, f"{kind}Config")(**size, **extra)
    name = {"GPT2": "GPT2LMHeadModel"}.get(kind, f"{kind}ForCausalLM")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return getattr(transformers, name)(config).eval()


class TestModels:
    @pytest.mark.parametrize(
        ("kind", "extra", "goes_on"),
        [
            ("GPTNeoX", {}, True),
            ("GPT2", {}, True),  # learned positions
            ("Mistral", {"sliding_window": None, "num_key_value_heads": 2}, True),
            ("Mistral", {"sliding_window": 6, "num_key_value_heads": 2}, False),
            ("Gemma2", {"head_dim": 8, "num_key_value_heads": 2, "sliding_window": 6}, False),
            ("Mamba", {"state_size": 4}, False),
            ("Bloom", {}, False),  # its positions follow from the mask
        ],
    )
    def test_have_the_losses_of_whole_rows(
        self,
        kind: str,
        extra: dict[str, object],
        goes_on: bool,
        system_rows: list[Encoded],
        answer_rows: list[Encoded],
    ) -> None:
        model = build(kind, **extra)
        assert reads_after_a_prefix(model) == goes_on
        for rows in (system_rows, answer_rows):
            found = measure_losses(model, rows, pad_id=PAD)
            np.testing.assert_allclose(found.token_sum, reference(model, rows), rtol=2e-6)
        assert (tokens_read(model, system_rows) < sum(map(len, system_rows)) * 0.6) == goes_on

    @pytest.mark.parametrize("kind", ["prompt", "prefix"])
    def test_with_virtual_tokens_read_whole_rows(
        self, tiny_model: LoadedModel, system_rows: list[Encoded], kind: str
    ) -> None:
        import peft

        config = {"prompt": peft.PromptTuningConfig, "prefix": peft.PrefixTuningConfig}[kind]
        wrapped = peft.get_peft_model(
            tiny_model.model, config(task_type="CAUSAL_LM", num_virtual_tokens=3)
        ).eval()
        assert not reads_after_a_prefix(wrapped)
        found = measure_losses(wrapped, system_rows, pad_id=PAD)
        np.testing.assert_allclose(found.token_sum, reference(wrapped, system_rows), rtol=2e-6)

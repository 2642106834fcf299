"""The loss is that of Hugging Face's own formula, whatever the batch size and the path."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import Encoded, collate, encode
from llm_validation.measure import losses as losses_module
from llm_validation.measure.losses import Losses, measure_losses
from llm_validation.models.loading import LoadedModel

PAD = 1


@pytest.fixture
def rows(tiny_model: LoadedModel) -> list[Encoded]:
    """Twenty rows of different lengths, shortest neither first nor last."""
    pairs = [
        ("What is the thing? " * (1 + index % 3), "It is " + "the other " * (1 + index * 7 % 11))
        for index in range(20)
    ]
    return encode(Dataset.of(pairs, name="rows"), tiny_model.tokenizer, max_length=512)


def reference(model: torch.nn.Module, rows: list[Encoded]) -> np.ndarray:
    """Each row alone, by the model's own loss: mean over tokens times their number."""
    sums = []
    for row in rows:
        with torch.no_grad():
            loss = model(**collate([row], PAD)).loss
        sums.append(float(loss) * row.supervised.sum())
    return np.array(sums)


class TestValue:
    def test_is_the_model_s_own_loss(self, tiny_model: LoadedModel, rows: list[Encoded]) -> None:
        measured = measure_losses(tiny_model.model, rows, pad_id=PAD)
        np.testing.assert_allclose(measured.token_sum, reference(tiny_model.model, rows), rtol=1e-6)
        assert measured.token_count.tolist() == [int(row.supervised.sum()) for row in rows]
        assert len(set(measured.token_sum.round(3))) > 10  # the rows do differ

    def test_a_uniform_model_loses_log_vocabulary(
        self, tiny_model: LoadedModel, rows: list[Encoded]
    ) -> None:
        with torch.no_grad():
            tiny_model.model.get_input_embeddings().weight.zero_()  # tied to the output
        measured = measure_losses(tiny_model.model, rows, pad_id=PAD)
        assert measured.per_token == pytest.approx(math.log(268), abs=1e-12)

    def test_averages(self) -> None:
        measured = Losses(np.array([6.0, 1.0]), np.array([3, 1]))
        assert measured.per_token == 7 / 4
        assert measured.per_sequence == 7 / 2
        assert measured.response_logprobs.tolist() == [-6.0, -1.0]

    def test_probabilities_of_all_next_tokens_add_up_to_one(self, tiny_model: LoadedModel) -> None:
        rows = [
            Encoded(np.array([0, 5, token], np.int32), np.array([False, False, True]))
            for token in range(268)
        ]
        measured = measure_losses(tiny_model.model, rows, pad_id=PAD)
        assert np.exp(measured.response_logprobs).sum() == pytest.approx(1.0, abs=1e-6)


class TestBatchSize:
    def test_one_row_or_eight_with_padding(
        self, tiny_model: LoadedModel, rows: list[Encoded]
    ) -> None:
        longest = max(len(row) for row in rows)
        one, eight = (
            measure_losses(tiny_model.model, rows, pad_id=PAD, tokens_per_batch=n * longest)
            for n in (1, 8)
        )
        alone = measure_losses(tiny_model.model, rows, pad_id=PAD, tokens_per_batch=1)
        for other in (one, eight):
            assert abs(other.per_token - alone.per_token) < 1e-6
            assert (np.abs(other.token_sum - alone.token_sum) / alone.token_count).max() < 1e-6

    def test_neither_the_pad_id_nor_the_neighbours_matter(
        self, tiny_model: LoadedModel, rows: list[Encoded]
    ) -> None:
        measured = measure_losses(tiny_model.model, rows, pad_id=PAD)
        other_pad = measure_losses(tiny_model.model, rows, pad_id=7)
        np.testing.assert_allclose(other_pad.token_sum, measured.token_sum, rtol=1e-6)
        backwards = measure_losses(tiny_model.model, rows[::-1], pad_id=PAD)
        np.testing.assert_allclose(backwards.token_sum[::-1], measured.token_sum, rtol=1e-6)

    def test_longest_batch_first_and_told_to_progress(self, tiny_model: LoadedModel) -> None:
        pairs = [(f"Question {index}", "It is " * (1 + index * 7 % 11)) for index in range(20)]
        rows = encode(Dataset.of(pairs, name="rows"), tiny_model.tokenizer, max_length=512)
        seen = []

        def progress(items, doing):
            assert doing == "measuring losses on safety"
            for batch in items:
                seen.append(max(len(rows[index]) for index in batch.rows))
                yield batch

        measure_losses(
            tiny_model.model,
            rows,
            pad_id=PAD,
            tokens_per_batch=300,
            progress=progress,
            doing="measuring losses on safety",
        )
        assert len(seen) > 2
        assert seen == sorted(seen, reverse=True)
        assert seen[0] == max(len(row) for row in rows)


def build(kind: str) -> torch.nn.Module:
    """A tiny random model of an architecture whose logits are not simply a matrix product."""
    import transformers

    size = {
        "vocab_size": 268,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    extra = {
        "Gemma2": {"final_logit_softcapping": 2.0, "head_dim": 8},
        "Granite": {"logits_scaling": 5.0},
        "Cohere": {"logit_scale": 0.1},
        "GPTNeoX": {},
    }[kind]
    config = getattr(transformers, f"{kind}Config")(**size, **extra)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return getattr(transformers, f"{kind}ForCausalLM")(config).eval()


class TestOnlySupervisedPositionsReachTheHead:
    PROMPTS = 3  # of the rows, each read once: one position, whose logits nobody reads

    @staticmethod
    def head_positions(model: torch.nn.Module, rows: list[Encoded]) -> int:
        positions = []
        handle = model.get_output_embeddings().register_forward_hook(
            lambda module, inputs, output: positions.append(output[..., 0].numel())
        )
        measure_losses(model, rows, pad_id=PAD)
        handle.remove()
        return sum(positions)

    def test_and_no_other(self, tiny_model: LoadedModel, rows: list[Encoded]) -> None:
        supervised = sum(int(row.supervised.sum()) for row in rows)
        assert self.head_positions(tiny_model.model, rows) == supervised + self.PROMPTS
        assert supervised < sum(len(row) for row in rows)

    @pytest.mark.parametrize("kind", ["Gemma2", "Granite", "Cohere", "GPTNeoX"])
    def test_scaled_and_capped_logits_keep_their_loss(self, kind: str, rows: list[Encoded]) -> None:
        model = build(kind)
        prompts = self.PROMPTS if kind != "Gemma2" else 0  # whose windows slide: whole rows
        supervised = sum(int(row.supervised.sum()) for row in rows)
        assert self.head_positions(model, rows) == supervised + prompts
        measured = measure_losses(model, rows, pad_id=PAD)
        np.testing.assert_allclose(measured.token_sum, reference(model, rows), rtol=2e-6)

    @pytest.mark.parametrize("hidden_by", ["no head", "an unknown shape"])
    def test_full_logits_give_the_same(
        self,
        tiny_model: LoadedModel,
        rows: list[Encoded],
        monkeypatch: pytest.MonkeyPatch,
        hidden_by: str,
    ) -> None:
        model = tiny_model.model
        narrow = measure_losses(model, rows, pad_id=PAD)
        if hidden_by == "no head":
            monkeypatch.setattr(model, "get_output_embeddings", lambda: None)
        else:  # a head that is called with something else than [n, t, d]
            other = torch.nn.Identity()
            monkeypatch.setattr(model, "get_output_embeddings", lambda: other)
        full = measure_losses(model, rows, pad_id=PAD)
        np.testing.assert_allclose(full.token_sum, narrow.token_sum, rtol=1e-6)

    def test_leaves_no_hook_behind_even_after_an_error(
        self, tiny_model: LoadedModel, rows: list[Encoded], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args):
            raise RuntimeError("out of memory")

        head = tiny_model.model.get_output_embeddings()
        monkeypatch.setattr(head, "forward", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            measure_losses(tiny_model.model, rows, pad_id=PAD)
        assert not head._forward_pre_hooks


class TestAdapters:
    @pytest.mark.parametrize("kind", ["lora", "ia3", "prompt", "prefix"])
    def test_are_measured(self, tiny_model: LoadedModel, rows: list[Encoded], kind: str) -> None:
        import peft

        base = measure_losses(tiny_model.model, rows, pad_id=PAD)
        task = peft.TaskType.CAUSAL_LM
        config = {
            "lora": lambda: peft.LoraConfig(
                task_type=task, r=2, target_modules=["q_proj"], init_lora_weights=False
            ),
            "ia3": lambda: peft.IA3Config(
                task_type=task,
                target_modules=["k_proj", "down_proj"],
                feedforward_modules=["down_proj"],
                init_ia3_weights=False,
            ),
            "prompt": lambda: peft.PromptTuningConfig(task_type=task, num_virtual_tokens=4),
            "prefix": lambda: peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=4),
        }[kind]()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            adapted = peft.get_peft_model(tiny_model.model, config).eval()
        measured = measure_losses(adapted, rows, pad_id=PAD)
        np.testing.assert_allclose(measured.token_sum, reference(adapted, rows), rtol=2e-6)
        assert abs(measured.per_token - base.per_token) > 1e-4


class TestTheModelAfterwards:
    def test_keeps_its_modes_weights_and_gradients(
        self, tiny_model: LoadedModel, rows: list[Encoded]
    ) -> None:
        model = tiny_model.model.train()
        model.model.norm.eval()
        before = {name: weight.clone() for name, weight in model.state_dict().items()}
        measure_losses(model, rows, pad_id=PAD)
        assert model.training
        assert not model.model.norm.training
        assert all(weight.grad is None for weight in model.parameters())
        for name, weight in model.state_dict().items():
            torch.testing.assert_close(weight, before[name], rtol=0, atol=0)
        model(**collate(rows[:1], PAD)).loss.backward()  # and can still be trained

    def test_dropout_is_off(self, tiny_model: LoadedModel, rows: list[Encoded]) -> None:
        quiet = measure_losses(tiny_model.model, rows, pad_id=PAD)
        for layer in tiny_model.model.model.layers:
            layer.self_attn.attention_dropout = 0.5
        noisy = measure_losses(tiny_model.model.train(), rows, pad_id=PAD)
        np.testing.assert_array_equal(noisy.token_sum, quiet.token_sum)


class TestRefused:
    def test_no_rows(self, tiny_model: LoadedModel) -> None:
        with pytest.raises(ValueError, match="no row"):
            measure_losses(tiny_model.model, [], pad_id=PAD)

    def test_a_tokenizer_of_another_model(self, tiny_model: LoadedModel) -> None:
        row = Encoded(np.array([0, 268], np.int32), np.array([False, True]))
        with pytest.raises(InputError, match="knows only 268 tokens"):
            measure_losses(tiny_model.model, [row], pad_id=PAD)

    def test_a_diverged_model(self, tiny_model: LoadedModel, rows: list[Encoded]) -> None:
        with torch.no_grad():
            tiny_model.model.model.norm.weight[0] = float("nan")
        with pytest.raises(InputError, match="loss on row 1 is nan") as caught:
            measure_losses(tiny_model.model, rows, pad_id=PAD)
        assert "learning rate" in caught.value.remedy


def test_float64_sums_are_taken_a_few_positions_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunks change memory only: 130 positions in chunks of 64, 64 and 2."""
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(scale=20, size=(130, 50)).astype(np.float32))
    targets = torch.from_numpy(rng.integers(0, 50, size=130))
    exact = torch.nn.functional.cross_entropy(logits.double(), targets, reduction="none")
    chunked = losses_module._token_losses(logits, targets)
    assert chunked.dtype == np.float64
    np.testing.assert_allclose(chunked, exact.numpy(), rtol=1e-13)


@pytest.mark.packaged
@pytest.mark.slow
def test_the_packaged_model_agrees_with_its_own_loss() -> None:
    from llm_validation.models.loading import load_model

    loaded = load_model()
    pairs = [("Name a colour.", "Blue."), ("What is 2 + 2?", "It is 4.\n\n1. Count: 2, 3, 4."),
             ("Who are you?", "I am SmolLM, an assistant.")]  # fmt: skip
    rows = encode(Dataset.of(pairs, name="rows"), loaded.tokenizer, max_length=256)
    together = measure_losses(loaded.model, rows, pad_id=2)
    alone = measure_losses(loaded.model, rows, pad_id=2, tokens_per_batch=1)
    assert abs(together.per_token - alone.per_token) < 1e-6
    np.testing.assert_allclose(together.token_sum, reference(loaded.model, rows), rtol=1e-5)

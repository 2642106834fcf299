"""An adapter's own tokenizer, template and added tokens; which base it was trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode
from llm_validation.measure.losses import measure_losses
from llm_validation.models.adapter_base import BASE, write_base
from llm_validation.models.loading import LoadedModel, load_model
from llm_validation.models.tuned import with_adapter

ROWS = Dataset.of([("Where is the pier?", "At the end."), ("When?", "At six.")], name="rows")
OWN = (
    "{% for m in messages %}{{ ('### Q: ' if m.role == 'user' else '### A:') + m.content "
    "+ eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '### A:' }}{% endif %}"
)


def save_lora(model, tokenizer, folder: Path, **settings) -> Path:
    """A LoRA with random numbers, saved by peft with a tokenizer (None: without)."""
    wrapped = get_peft_model(
        model, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", **settings)
    )
    draw = torch.Generator().manual_seed(3)
    for name, weights in wrapped.named_parameters():
        if "lora_" in name or "modules_to_save" in name or "trainable_tokens" in name:
            weights.data += 0.1 * torch.randn(weights.shape, generator=draw)
    wrapped.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def base(tiny_model_folder: Path) -> LoadedModel:
    return load_model(tiny_model_folder)


@pytest.fixture
def lora(base: LoadedModel, tmp_path: Path) -> Path:
    return save_lora(base.model, None, tmp_path / "lora")


def loss(loaded: LoadedModel, rows: Dataset = ROWS) -> float:
    encoded = encode(rows, loaded.tokenizer, max_length=256)
    pad = loaded.tokenizer.pad_token_id
    return measure_losses(loaded.model, encoded, pad_id=pad).per_token


class TestTemplate:
    def test_without_any_the_base_s_is_used(self, lora: Path, tiny_model_folder: Path) -> None:
        tuned = with_adapter(load_model(tiny_model_folder), lora)
        assert tuned.notes == ()
        assert (
            tuned.tokenizer.chat_template == load_model(tiny_model_folder).tokenizer.chat_template
        )

    def test_the_same_one_changes_nothing(
        self, base: LoadedModel, lora: Path, tiny_model_folder: Path, tmp_path: Path
    ) -> None:
        there = Path(shutil.copytree(lora, tmp_path / "there" / "lora"))
        base.tokenizer.save_pretrained(there)
        one, other = (with_adapter(load_model(tiny_model_folder), f) for f in (lora, there))
        assert (one.sha256, one.notes) == (other.sha256, other.notes)

    @pytest.mark.parametrize("whole", [True, False])
    def test_the_adapter_s_own_is_used_and_told(
        self, base: LoadedModel, lora: Path, tiny_model_folder: Path, whole: bool
    ) -> None:
        plain = with_adapter(load_model(tiny_model_folder), lora)
        if whole:
            base.tokenizer.chat_template = OWN
            base.tokenizer.save_pretrained(lora)
        else:
            (lora / "chat_template.jinja").write_text(OWN)
        tuned = with_adapter(load_model(tiny_model_folder), lora)
        assert tuned.tokenizer.get_chat_template() == OWN
        assert "own chat template is used" in tuned.notes[0]
        assert tuned.sha256 != plain.sha256
        assert loss(tuned) != pytest.approx(loss(plain), rel=1e-3)

    def test_a_tokenizer_without_template_keeps_the_base_s(
        self, base: LoadedModel, lora: Path, tiny_model_folder: Path
    ) -> None:
        template = base.tokenizer.chat_template
        base.tokenizer.chat_template = None
        base.tokenizer.save_pretrained(lora)
        tuned = with_adapter(load_model(tiny_model_folder), lora)
        assert tuned.tokenizer.get_chat_template() == template

    def test_another_family_s_tokenizer_is_refused(
        self, lora: Path, tiny_model_folder: Path
    ) -> None:
        from tokenizers import Tokenizer, models
        from transformers import PreTrainedTokenizerFast

        other = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
        PreTrainedTokenizerFast(tokenizer_object=other, eos_token="a").save_pretrained(lora)
        with pytest.raises(InputError, match="has other tokens than the model's: 268 of 268"):
            with_adapter(load_model(tiny_model_folder), lora)

    def test_a_damaged_one_is_an_input_error(self, lora: Path, tiny_model_folder: Path) -> None:
        (lora / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "BPE"')
        with pytest.raises(InputError, match="tokenizer cannot be loaded"):
            with_adapter(load_model(tiny_model_folder), lora)


class TestAddedTokens:
    @pytest.mark.parametrize(
        "settings",
        [
            {"modules_to_save": ["embed_tokens", "lm_head"]},
            {"modules_to_save": ["embed_tokens"]},
            {"trainable_token_indices": [268, 269]},
            {},  # peft saves resized embeddings of itself
        ],
    )
    @pytest.mark.parametrize("multiple", [None, 16])
    def test_the_base_grows_for_them(
        self, base: LoadedModel, tiny_model_folder: Path, tmp_path: Path, settings, multiple
    ) -> None:
        """The losses are those of plain peft on a base that was made larger by hand."""
        tokenizer = base.tokenizer
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|a|>", "<|b|>"]})
        tokenizer.chat_template = OWN.replace("### A:", "<|a|>").replace("### Q: ", "<|b|>")
        torch.manual_seed(1)
        base.model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=multiple)
        folder = save_lora(base.model, tokenizer, tmp_path / "lora", **settings)
        tuned = with_adapter(load_model(tiny_model_folder), folder)
        assert "own tokenizer is used: 270 tokens, the base's has 268" in " ".join(tuned.notes)

        reference = load_model(tiny_model_folder)
        torch.manual_seed(2)
        reference.model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=multiple)
        wrapped = PeftModel.from_pretrained(reference.model, folder).eval()
        encoded = encode(ROWS, tokenizer, max_length=256)
        assert {268, 269} <= {int(i) for row in encoded for i in row.input_ids}
        expected = measure_losses(wrapped, encoded, pad_id=1).per_token
        assert loss(tuned) == pytest.approx(expected, rel=1e-6)

    def test_without_embeddings_they_are_refused(
        self, base: LoadedModel, lora: Path, tiny_model_folder: Path
    ) -> None:
        base.tokenizer.add_special_tokens({"additional_special_tokens": ["<|a|>"]})
        base.tokenizer.save_pretrained(lora)
        with pytest.raises(InputError, match="269 tokens, the model embeddings of 268") as caught:
            with_adapter(load_model(tiny_model_folder), lora)
        assert "save_embedding_layers=True" in caught.value.remedy


class TestBase:
    def rename(self, lora: Path, base: str | None) -> None:
        file = lora / "adapter_config.json"
        settings = json.loads(file.read_text()) | {"base_model_name_or_path": base}
        file.write_text(json.dumps(settings))

    @pytest.mark.parametrize(
        "named", ["owner/tiny-llama", "/gone/tiny-llama/", "C:\\models\\Tiny-Llama"]
    )
    def test_the_same_name_says_nothing(self, lora, tiny_model_folder, named) -> None:
        self.rename(lora, named)
        assert with_adapter(load_model(tiny_model_folder), lora).notes == ()

    @pytest.mark.parametrize(
        ("named", "says"),
        [
            ("owner/other", "says that it was trained on owner/other, and it is on tiny-llama"),
            ("/cache/models--owner--other/snapshots/tiny-llama", "and it is on tiny-llama"),
            (None, "does not say which model it was trained on"),
            ("", "does not say which model it was trained on"),
        ],
    )
    def test_another_name_is_told(self, lora, tiny_model_folder, named, says) -> None:
        self.rename(lora, named)
        (note,) = with_adapter(load_model(tiny_model_folder), lora).notes
        assert says in note

    def test_another_base_of_the_same_sizes_is_refused_by_its_hash(
        self, lora: Path, tiny_model_folder: Path, tmp_path: Path
    ) -> None:
        from tests.conftest import build_tiny_model_folder

        loaded = load_model(tiny_model_folder)
        write_base(lora, name=loaded.name, sha256=loaded.sha256)
        self.rename(lora, "elsewhere")
        assert with_adapter(loaded, lora).notes == ()
        other = load_model(build_tiny_model_folder(tmp_path / "tiny-llama", seed=9))
        with pytest.raises(InputError, match=f"its {BASE} has the hash {loaded.sha256[:12]}"):
            with_adapter(other, lora)

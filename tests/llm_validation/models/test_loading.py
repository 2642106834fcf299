"""Loading a model: what comes out, and one paragraph for each thing that cannot be loaded."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from pathlib import Path

import pytest
import torch

from finebound.base.errors import InputError
from llm_validation.models import loading, memory
from llm_validation.models.loading import LoadedModel, load_model


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FINEBOUND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may break."""
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "my-model"))


def edit_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


class TestLoaded:
    def test_is_float32_in_evaluation_mode_with_the_configured_context(
        self, tiny_model: LoadedModel
    ) -> None:
        assert {weight.dtype for weight in tiny_model.model.parameters()} == {torch.float32}
        assert not tiny_model.model.training
        assert tiny_model.name == "tiny-llama"
        # The tokenizer's own model_max_length is 1e30.
        assert tiny_model.context_length == 512

    def test_half_precision_weights_are_widened(self, folder: Path) -> None:
        load_model(folder).model.to(torch.bfloat16).save_pretrained(folder)
        assert load_model(folder).model.dtype == torch.float32

    def test_eager_attention_can_be_differentiated_twice(self, folder: Path) -> None:
        loaded = load_model(folder, attention="eager")
        assert loaded.model.config._attn_implementation == "eager"
        weight = loaded.model.model.layers[0].self_attn.q_proj.weight
        ids = torch.arange(8)[None]
        loss = loaded.model(input_ids=ids, labels=ids).loss
        (gradient,) = torch.autograd.grad(loss, weight, create_graph=True)
        (second,) = torch.autograd.grad(gradient.square().sum(), weight)
        assert second.abs().max() > 0

    def test_both_attentions_give_the_same_logits(self, folder: Path) -> None:
        fast, eager = (load_model(folder, attention=kind).model for kind in ("sdpa", "eager"))
        assert fast.config._attn_implementation == "sdpa"
        ids = torch.arange(40)[None]
        with torch.no_grad():
            torch.testing.assert_close(fast(ids).logits, eager(ids).logits, atol=1e-5, rtol=1e-5)

    def test_a_missing_pad_token_is_filled_in(self, folder: Path) -> None:
        file = folder / "tokenizer_config.json"
        settings = json.loads(file.read_text())
        del settings["pad_token"]
        file.write_text(json.dumps(settings))
        tokenizer = load_model(folder).tokenizer
        assert tokenizer.pad_token_id == tokenizer.eos_token_id == 1


class TestContentId:
    def test_does_not_depend_on_the_place(self, tiny_model: LoadedModel, folder: Path) -> None:
        again = load_model(folder)
        assert again.name == "my-model"
        assert again.sha256 == tiny_model.sha256

    def test_does_not_depend_on_the_library_version(
        self, tiny_model: LoadedModel, folder: Path
    ) -> None:
        edit_config(folder, transformers_version="0.0.0")
        assert load_model(folder).sha256 == tiny_model.sha256

    @pytest.mark.parametrize("what", ["weight", "configuration", "template"])
    def test_changes_with_the_content(
        self, tiny_model: LoadedModel, folder: Path, what: str
    ) -> None:
        if what == "weight":
            model = load_model(folder).model
            with torch.no_grad():
                model.model.norm.weight[0] += 1e-6
            model.save_pretrained(folder)
        elif what == "configuration":
            edit_config(folder, rms_norm_eps=1e-5)
        else:
            template = folder / "chat_template.jinja"
            template.write_text(template.read_text().replace("user", "human") + "{# #}")
        assert load_model(folder).sha256 != tiny_model.sha256

    def test_weights_are_hashed_once_until_they_change(
        self, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hashed = []
        digest = loading.hashlib.file_digest

        def count(stream, name):
            hashed.append(Path(stream.name).name)
            return digest(stream, name)

        monkeypatch.setattr(loading.hashlib, "file_digest", count)
        first = load_model(folder).sha256
        assert "model.safetensors" in hashed
        hashed.clear()
        assert load_model(folder).sha256 == first
        assert hashed == []
        weights = folder / "model.safetensors"
        os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))
        load_model(folder)
        assert hashed == ["model.safetensors"]

    def test_a_cache_that_cannot_be_written_only_costs_time(
        self, tiny_model: LoadedModel, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        in_the_way = folder / "a-file"
        in_the_way.write_text("")
        monkeypatch.setenv("FINEBOUND_CACHE", str(in_the_way))
        assert load_model(folder).sha256 == tiny_model.sha256


class TestBadFolder:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no such model folder") as caught:
            load_model(tmp_path / "nowhere")
        assert str(tmp_path / "nowhere") in str(caught.value)
        assert "use the packaged model" in caught.value.remedy

    def test_a_name_that_is_neither_folder_nor_hub_id(self) -> None:
        with pytest.raises(InputError, match="no such model folder"):
            load_model("tiny-llama")

    def test_a_file(self, folder: Path) -> None:
        with pytest.raises(InputError, match="is a file"):
            load_model(folder / "model.safetensors")

    def test_empty(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"config\.json"):
            load_model(tmp_path)

    def test_an_adapter(self, tmp_path: Path) -> None:
        (tmp_path / "adapter_config.json").write_text("{}")
        with pytest.raises(InputError, match="merge_and_unload"):
            load_model(tmp_path)

    def test_without_tokenizer(self, folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer_config.json").unlink()
        with pytest.raises(InputError, match="no tokenizer") as caught:
            load_model(folder)
        assert "AutoTokenizer.from_pretrained" in caught.value.remedy

    def test_without_chat_template(self, folder: Path) -> None:
        (folder / "chat_template.jinja").unlink()
        with pytest.raises(InputError, match="no chat template") as caught:
            load_model(folder)
        assert "chat_template.jinja" in caught.value.remedy

    def test_only_pickled_weights_are_not_read(self, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        # Reading it would raise something else: it is no pickle.
        (folder / "pytorch_model.bin").write_bytes(b"\x80")
        with pytest.raises(InputError, match=r"only \.safetensors are loaded") as caught:
            load_model(folder)
        assert "save_pretrained" in caught.value.remedy

    def test_no_weights(self, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        with pytest.raises(InputError, match="holds no weights"):
            load_model(folder)

    def test_a_missing_shard(self, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        index = {
            "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-2.safetensors"}
        }
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(InputError, match=r"model-00001-of-00002\.safetensors is missing"):
            load_model(folder)

    def test_truncated_weights(self, folder: Path) -> None:
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(InputError, match="cannot be loaded"):
            load_model(folder)

    def test_weights_of_another_configuration(self, folder: Path) -> None:
        edit_config(folder, num_hidden_layers=3)
        with pytest.raises(InputError, match=r"weights that config\.json asks for are missing"):
            load_model(folder)

    def test_a_configuration_that_is_not_json(self, folder: Path) -> None:
        (folder / "config.json").write_text("{")
        with pytest.raises(InputError):
            load_model(folder)

    def test_not_a_causal_language_model(self, folder: Path) -> None:
        edit_config(folder, model_type="vit", architectures=["ViTModel"])
        with pytest.raises(InputError, match="cannot be loaded"):
            load_model(folder)

    def test_code_of_the_models_own_is_never_run(self, folder: Path) -> None:
        ran = folder / "ran"
        (folder / "modeling.py").write_text(f"open({str(ran)!r}, 'w')\n")
        edit_config(
            folder,
            model_type="own",
            auto_map={"AutoConfig": "modeling.C", "AutoModelForCausalLM": "modeling.M"},
        )
        with pytest.raises(InputError):
            load_model(folder)
        assert not ran.exists()

    def test_without_a_context_length(self, folder: Path) -> None:
        edit_config(folder, max_position_embeddings=0)
        with pytest.raises(InputError, match="max_position_embeddings"):
            load_model(folder)


class TestHub:
    @pytest.fixture(autouse=True)
    def empty_hub_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        return tmp_path / "hub"

    def test_with_blocked_sockets_it_says_at_once_what_to_do(self) -> None:
        start = time.monotonic()
        with pytest.raises(InputError, match="not on this machine") as caught:
            load_model("meta-llama/Llama-3.2-1B-Instruct")
        assert time.monotonic() - start < 30
        self.names_all_three_ways_out(caught.value)

    def test_offline_it_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(InputError, match="HF_HUB_OFFLINE is set") as caught:
            load_model("meta-llama/Llama-3.2-1B-Instruct")
        self.names_all_three_ways_out(caught.value)

    def test_a_name_that_cannot_be_resolved(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unresolved(*args, **kwargs):
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unresolved)
        with pytest.raises(InputError, match="not on this machine") as caught:
            load_model("owner/name")
        assert "`hf download owner/name`" in caught.value.remedy

    @staticmethod
    def names_all_three_ways_out(error: InputError) -> None:
        for way in ("`hf download meta-llama/Llama-3.2-1B-Instruct`", "`hf auth login`"):
            assert way in error.remedy
        assert "use the packaged model" in error.remedy

    @pytest.mark.parametrize(
        ("kind", "said"), [("GatedRepoError", "is gated"), ("RepositoryNotFoundError", "knows no")]
    )
    def test_no_access(self, monkeypatch: pytest.MonkeyPatch, kind: str, said: str) -> None:
        from huggingface_hub import HfApi, errors

        error_type = getattr(errors, kind)

        def refuse(*args, **kwargs):
            # Its constructor wants a response of whichever HTTP library is in use.
            raise error_type.__new__(error_type)

        monkeypatch.setattr(HfApi, "model_info", refuse)
        with pytest.raises(InputError, match=said) as caught:
            load_model("owner/name")
        assert "`hf auth login`" in caught.value.remedy
        assert "`hf download owner/name`" in caught.value.remedy

    def test_a_model_in_the_hub_cache_needs_no_network(
        self, tiny_model: LoadedModel, tiny_model_folder: Path, empty_hub_cache: Path
    ) -> None:
        commit = "0" * 40
        stored = empty_hub_cache / "models--owner--name"
        shutil.copytree(tiny_model_folder, stored / "snapshots" / commit)
        (stored / "refs").mkdir()
        (stored / "refs" / "main").write_text(commit)
        loaded = load_model("owner/name")
        assert loaded.name == "owner/name"
        assert loaded.sha256 == tiny_model.sha256


def test_a_model_that_does_not_fit_is_not_begun(tiny_model_folder, monkeypatch):
    monkeypatch.setenv(memory.VARIABLE, "0.05")
    monkeypatch.setattr(loading, "_load_weights", lambda *_: pytest.fail("was begun"))
    with pytest.raises(memory.NeedsMemory, match=r"loading .* in float32 needs about .* MB"):
        load_model(tiny_model_folder)

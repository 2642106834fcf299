"""A damaged model or adapter folder is an InputError, never a traceback and never another model."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode
from llm_validation.measure.losses import measure_losses
from llm_validation.models.adapters import attach_lora
from llm_validation.models.loading import LoadedModel, load_model
from llm_validation.models.tuned import with_adapter
from tests.builders.fuzz import mutated_bytes, mutated_value, refusal

ROWS = Dataset.of([("Where is the pier?", "At the end.")], name="rows")
CASES = 40  # of each folder


@pytest.fixture(scope="module")
def adapter(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter") / "lora"
    loaded = load_model(tiny_model_folder)
    attach_lora(loaded.model, rank=2, alpha=4, targets=("q_proj",), seed=0).save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


def measured(loaded: LoadedModel) -> None:
    encoded = encode(ROWS, loaded.tokenizer, max_length=loaded.context_length)
    measure_losses(loaded.model, encoded, pad_id=loaded.tokenizer.pad_token_id)


def damage(folder: Path, seed: int) -> None:
    """Change one of the folder's files in one way."""
    rng = random.Random(seed)
    kinds = (".json", ".safetensors", ".jinja")
    file = rng.choice(sorted(file for file in folder.iterdir() if file.suffix in kinds))
    if file.suffix == ".json" and rng.random() < 0.6:
        changed = json.dumps(mutated_value(json.loads(file.read_text(encoding="utf-8")), rng))
        file.write_text(changed, encoding="utf-8")
    else:
        file.write_bytes(mutated_bytes(file.read_bytes(), rng))


@pytest.mark.parametrize("seed", range(CASES))
def test_a_damaged_model(tiny_model_folder: Path, tmp_path: Path, seed: int) -> None:
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))
    damage(folder, seed)
    refusal(lambda: measured(load_model(folder)))


@pytest.mark.parametrize("seed", range(CASES))
def test_a_damaged_adapter(
    tiny_model_folder: Path, adapter: Path, tmp_path: Path, seed: int
) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "lora"))
    damage(folder, seed)
    refusal(lambda: measured(with_adapter(load_model(tiny_model_folder), folder)))


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.3, 0.999])
@pytest.mark.parametrize("which", ["model.safetensors", "adapter_model.safetensors"])
def test_cut_weights(
    tiny_model_folder: Path, adapter: Path, tmp_path: Path, keep: float, which: str
) -> None:
    is_model = which == "model.safetensors"
    folder = Path(shutil.copytree(tiny_model_folder if is_model else adapter, tmp_path / "cut"))
    content = (folder / which).read_bytes()
    (folder / which).write_bytes(content[: int(keep * len(content))])

    def load() -> None:
        if is_model:
            load_model(folder)
        else:
            with_adapter(load_model(tiny_model_folder), folder)

    error = refusal(load)
    assert error is not None
    assert str(folder) in str(error)
    assert "again" in error.remedy


@pytest.mark.parametrize(
    "weight_map",
    [None, 3, [], ["model.safetensors"], {"a": 1}, {"a": None}, {"a": ["b"]}, {"a": "../b"}, {}],
)
def test_an_index_that_names_no_files(
    tiny_model_folder: Path, tmp_path: Path, weight_map: object
) -> None:
    folder = Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    error = refusal(lambda: load_model(folder))
    assert error is not None
    assert str(folder) in str(error)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '"lora"', '{"peft_type": 3}', "{}"])
def test_an_adapter_s_configuration(
    tiny_model_folder: Path, adapter: Path, tmp_path: Path, text: str
) -> None:
    folder = Path(shutil.copytree(adapter, tmp_path / "lora"))
    (folder / "adapter_config.json").write_text(text)
    assert refusal(lambda: with_adapter(load_model(tiny_model_folder), folder), file=folder)

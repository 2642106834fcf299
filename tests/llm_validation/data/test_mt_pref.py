"""MT-Pref as released is read as the study uses it, wherever it is loaded from."""

import json

import pytest

from finebound.base.errors import InputError
from llm_validation.data.loading import load_dataset
from llm_validation.evaluation.translation import load_test_set

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def released_row(number, language, target="English"):
    """A row with the columns and the markup of the hub's files."""
    source, answer = f"Satz {number} ({language}).", f"Sentence {number}."
    prompt = (
        f"<|im_start|>user\nTranslate the following {language} source text to {target}:\n"
        f"{language}: {source}\n{target}: <|im_end|>\n<|im_start|>assistant\n"
    )
    return {"prompt": prompt, "chosen": f"{answer}<|im_end|>", "rejected": "No.<|im_end|>"}


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows():
    into = [
        released_row(i, language)
        for i, language in enumerate(("German", "Chinese", "Spanish", "Dutch", "Italian"))
    ]
    return [*into, released_row(9, "English", "German"), released_row(10, "German", "French")]


def test_a_file_as_released(tmp_path):
    found = load_dataset(write_rows(tmp_path / "mt.jsonl", rows()), role="task")
    assert [(e.prompt, e.response, e.rejected, e.category) for e in found.examples] == [
        ("Satz 0 (German).", "Sentence 0.", "No.", "German"),
        ("Satz 2 (Spanish).", "Sentence 2.", "No.", "Spanish"),
        ("Satz 4 (Italian).", "Sentence 4.", "No.", "Italian"),
    ]
    assert all(e.messages == (("user", e.prompt),) for e in found.examples)
    assert found.source.endswith("mt.jsonl (4 rows of other pairs left out)")
    assert load_test_set(tmp_path / "mt.jsonl").sha256 == found.sha256


def test_by_name_and_by_hub_id_from_the_cache(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    repository = tmp_path / "datasets--sardinelab--MT-pref"
    file = repository / "snapshots" / COMMIT / "data" / "train-00000-of-00001.jsonl"
    # A row without an answer is left out of this set, as the catalogue says.
    write_rows(file, [*rows(), {**released_row(11, "French"), "chosen": ""}])
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for name in ("mt-pref", "hf:sardinelab/MT-pref"):
        found = load_dataset(name)
        assert [e.category for e in found.examples] == ["German", "Spanish", "Italian"]
        assert found.source.startswith(f"hf:sardinelab/MT-pref@{COMMIT}:train (1 rows left out")
        assert found.source.endswith("(4 rows of other pairs left out)")


def test_a_file_without_a_row_into_english_is_refused(tmp_path):
    path = write_rows(tmp_path / "mt.jsonl", [released_row(0, "Chinese"), *rows()[-2:]])
    with pytest.raises(InputError, match="no row translates German") as error:
        load_dataset(path, role="task")
    assert error.value.file == str(path)


def test_other_sets_stay_as_they_are(tmp_path):
    plain = [
        {"prompt": "Translate the following German source text to English:", "response": "Gladly."},
        {"prompt": "What does <|im_end|> mean?", "response": "A turn ends."},
    ]
    found = load_dataset(write_rows(tmp_path / "a.jsonl", plain))
    assert found.prompts == [row["prompt"] for row in plain]

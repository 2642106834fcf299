"""References to datasets, and the checks on one dataset and on two."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from finebound.base.errors import InputError
from llm_validation.data.builtin import BUILTIN
from llm_validation.data.dataset import Dataset
from llm_validation.data.loading import load_dataset, require_different, require_rows

ROWS = [{"prompt": f"q{index}", "response": f"a{index}"} for index in range(4)]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_jsonl(path: Path, rows: list[dict] = ROWS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_file_by_path_or_by_text(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "mine.jsonl")
    dataset = load_dataset(path)
    assert dataset == load_dataset(str(path)) == load_dataset(f"hf:{path}")
    assert (dataset.name, dataset.source, len(dataset)) == ("mine", str(path), 4)
    assert dataset.prompts == ["q0", "q1", "q2", "q3"]


def test_the_hash_is_of_the_content_not_of_the_format(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl")
    (tmp_path / "b.json").write_text(json.dumps({"data": ROWS}))
    (tmp_path / "c.json").write_text(json.dumps(ROWS[::-1]))
    a, b, c = map(load_dataset, (path, tmp_path / "b.json", tmp_path / "c.json"))
    assert a.sha256 == b.sha256 != c.sha256


def test_rows_left_out_are_counted_in_the_source(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [*ROWS, {"prompt": "q", "response": ""}])
    with pytest.raises(InputError, match="row 5"):
        load_dataset(path)
    dataset = load_dataset(path, drop_unusable=True)
    assert len(dataset) == 4
    assert dataset.source == f"{path} (1 rows left out: 1 where 'response' is empty)"


def test_builtin_names() -> None:
    assert len(load_dataset(f"builtin:{BUILTIN[0]}")) > 1
    with pytest.raises(InputError, match=f"Did you mean {BUILTIN[0]}"):
        load_dataset(f"builtin:{BUILTIN[0][:-1]}")


def test_a_missing_file_suggests_what_lies_beside_it(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "safety.jsonl")
    with pytest.raises(InputError, match=r"no such file\. Did you mean safety\.jsonl"):
        load_dataset(tmp_path / "saftey.jsonl")
    with pytest.raises(InputError, match="no folder"):
        load_dataset(str(tmp_path / "nowhere" / "safety.jsonl"))


def test_the_role_is_named_and_file_row_and_remedy_stay(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "a.jsonl", [*ROWS, {"prompt": "q", "response": 3}])
    with pytest.raises(InputError) as caught:
        load_dataset(path, role="task")
    assert (caught.value.file, caught.value.row) == (str(path), 5)
    assert "cannot be used as the task dataset: 'response' is a number" in str(caught.value)
    assert caught.value.remedy in str(caught.value)


@pytest.mark.parametrize(
    "reference", ["", "no-such-name", "owner/name", "hf:", "hf:name", "hf:a/b/c"]
)
def test_references_to_nothing(reference: str) -> None:
    with pytest.raises(InputError) as caught:
        load_dataset(reference)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "reference",
    ["a" * 5000, "a" * 5000 + ".jsonl", "hf:" + "a" * 3000, "hf:~nobody-here/x", "a\0b.jsonl"],
)
def test_references_that_no_file_system_can_look_up(reference: str) -> None:
    with pytest.raises(InputError) as caught:
        load_dataset(reference)
    assert caught.value.remedy


# Folders -----------------------------------------------------------------------------------------


def test_a_folder_with_one_file(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "set" / "data.jsonl")
    (tmp_path / "set" / "README.md").write_text("about")
    (tmp_path / "set" / "dataset_infos.json").write_text("{}")
    write_jsonl(tmp_path / "set" / ".cache" / "other.jsonl")
    assert len(load_dataset(tmp_path / "set")) == 4


def test_splits_of_a_folder(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "data" / "train-00000-of-00002.jsonl", ROWS[:2])
    write_jsonl(tmp_path / "data" / "train-00001-of-00002.jsonl", ROWS[2:])
    write_jsonl(tmp_path / "data" / "train_sft.jsonl", ROWS[:1])
    write_jsonl(tmp_path / "data" / "test.jsonl", ROWS[:3])
    assert load_dataset(tmp_path).prompts == ["q0", "q1", "q2", "q3"]
    assert len(load_dataset(f"hf:{tmp_path}:train")) == 4
    assert len(load_dataset(f"hf:{tmp_path}:train_sft")) == 1
    assert len(load_dataset(f"hf:{tmp_path}:test")) == 3
    with pytest.raises(InputError, match=r"the split 'dev' among its files: data/test\.jsonl"):
        load_dataset(f"hf:{tmp_path}:dev")


def test_a_missing_shard_is_not_half_a_dataset(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train-00000-of-00003.jsonl")
    write_jsonl(tmp_path / "train-00002-of-00003.jsonl")
    with pytest.raises(InputError, match="2 of the 3 shards"):
        load_dataset(tmp_path)


def test_folders_that_single_out_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data file"):
        load_dataset(tmp_path)
    write_jsonl(tmp_path / "a.jsonl")
    write_jsonl(tmp_path / "b.jsonl")
    with pytest.raises(InputError, match=r"a\.jsonl, b\.jsonl"):
        load_dataset(tmp_path)


def test_datasets_saved_to_disk(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_list(ROWS)
    rows.save_to_disk(str(tmp_path / "one"))
    splits = datasets.DatasetDict({"train": rows, "test": rows.select([3])})
    splits.save_to_disk(str(tmp_path / "splits"))
    assert load_dataset(tmp_path / "one").prompts == ["q0", "q1", "q2", "q3"]
    assert len(load_dataset(f"hf:{tmp_path / 'splits'}")) == 4
    assert load_dataset(f"hf:{tmp_path / 'splits'}:test").prompts == ["q3"]
    with pytest.raises(InputError, match="no split 'dev': found train, test"):
        load_dataset(f"hf:{tmp_path / 'splits'}:dev")


@pytest.mark.parametrize("part", ["data-00000-of-00001.arrow", "state.json", "dataset_info.json"])
def test_damaged_datasets_saved_to_disk(tmp_path: Path, part: str) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(ROWS).save_to_disk(str(tmp_path))
    whole = (tmp_path / part).read_bytes()
    for size in (0, len(whole) // 3, len(whole) - 9):
        (tmp_path / part).write_bytes(whole[:size])
        with pytest.raises(InputError, match="`datasets` cannot"):
            load_dataset(tmp_path)


def test_a_folder_of_everything_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_validation.data.folders._MOST_ENTRIES", 3)
    for name in "abcd":
        write_jsonl(tmp_path / f"{name}.jsonl")
    with pytest.raises(InputError, match="more than 3 files"):
        load_dataset(tmp_path)


# The hub -----------------------------------------------------------------------------------------


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.filterwarnings("ignore:A test tried to use socket")
@pytest.mark.parametrize("offline", [True, False])
def test_an_unreachable_hub_says_at_once_what_to_do(
    offline: bool, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1" if offline else "0")
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        load_dataset("hf:tatsu-lab/alpaca:train", role="proxy")
    assert time.monotonic() - start < 10
    assert ("HF_HUB_OFFLINE is set" in caught.value.what) == offline
    assert "hf download tatsu-lab/alpaca --repo-type dataset" in caught.value.remedy
    assert "pass ./alpaca instead" in caught.value.remedy


def test_catalogue_names_lead_to_the_hub(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError) as caught:
        load_dataset("gsm8k")
    assert caught.value.file == "hf:openai/gsm8k"
    assert "pass ./gsm8k/main instead" in caught.value.remedy
    with pytest.raises(InputError, match="hf auth login"):
        load_dataset("hf:LLM-Tuning-Safety/HEx-PHI")


def test_offline_the_cached_copy_is_read(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    repository = empty_cache / "datasets--someone--chats"
    write_jsonl(repository / "snapshots" / COMMIT / "data" / "train.jsonl")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    dataset = load_dataset("hf:someone/chats")
    assert (dataset.name, len(dataset)) == ("chats", 4)
    assert dataset.source == f"hf:someone/chats@{COMMIT}"


def test_online_the_commit_that_was_read_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    import huggingface_hub

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    asked = []

    def rows(repository, config, *, split, revision):
        asked.append((repository, config, split, revision))
        return datasets.Dataset.from_list(ROWS)

    monkeypatch.setattr(
        huggingface_hub.HfApi, "dataset_info", lambda *_, **__: SimpleNamespace(sha=COMMIT)
    )
    monkeypatch.setattr(datasets, "get_dataset_split_names", lambda *_, **__: ["train", "test"])
    monkeypatch.setattr(datasets, "load_dataset", rows)
    dataset = load_dataset("hf:someone/chats")
    assert asked == [("someone/chats", None, "train", COMMIT)]
    assert dataset.source == f"hf:someone/chats@{COMMIT}:train"
    assert load_dataset("gsm8k").prompts == dataset.prompts
    assert asked[-1] == ("openai/gsm8k", "main", "train", COMMIT)
    assert load_dataset("hf:openai/gsm8k:test").source.endswith(":test")
    assert asked[-1] == ("openai/gsm8k", "main", "test", COMMIT)
    with pytest.raises(InputError, match="no split 'dev': found train, test"):
        load_dataset("hf:someone/chats:dev")


def test_online_a_repository_with_a_script_is_read_by_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked = []

    def download(repository, *, repo_type, revision, allow_patterns):
        asked.append((repository, repo_type, revision, allow_patterns))
        return str(tmp_path)

    commit = {"subject": "Add two", "old_contents": "", "new_contents": "x += 2", "message": "m"}
    write_jsonl(tmp_path / "data" / "python" / "data.jsonl", [commit, {**commit, "subject": ""}])
    write_jsonl(tmp_path / "data" / "ruby" / "data.jsonl")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(
        huggingface_hub.HfApi, "dataset_info", lambda *_, **__: SimpleNamespace(sha=COMMIT)
    )
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    dataset = load_dataset("commitpackft")
    assert asked == [("bigcode/commitpackft", "dataset", COMMIT, ["data/python/data.jsonl"])]
    assert (dataset.name, dataset.prompts) == ("commitpackft", ["Add two"])
    assert dataset.source.startswith(f"hf:bigcode/commitpackft@{COMMIT} (1 rows left out")


def test_a_gated_dataset_says_how_to_be_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    import huggingface_hub

    def gated(*_, **__):
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'a/b' is a gated dataset")

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(
        huggingface_hub.HfApi, "dataset_info", lambda *_, **__: SimpleNamespace(sha=COMMIT)
    )
    monkeypatch.setattr(datasets, "get_dataset_split_names", gated)
    with pytest.raises(InputError, match="gated") as caught:
        load_dataset("hf:a/b")
    assert "https://huggingface.co/datasets/a/b" in caught.value.remedy
    assert "hf auth login" in caught.value.remedy


# Checks ------------------------------------------------------------------------------------------


def test_too_few_rows() -> None:
    one = Dataset.of([("q", "a")], name="one")
    require_rows(one, at_least=1)
    with pytest.raises(InputError, match="the safety dataset has 1 row; at least 2"):
        require_rows(one, role="safety")


def test_equal_datasets(tmp_path: Path) -> None:
    a = load_dataset(write_jsonl(tmp_path / "a.jsonl"))
    b = load_dataset(write_jsonl(tmp_path / "b.jsonl"))
    require_different(a, load_dataset(write_jsonl(tmp_path / "c.jsonl", ROWS[:3])))
    with pytest.raises(InputError, match=r"the safety and the task dataset have the same content"):
        require_different(a, b)

"""What lies where an adapter was looked for is named, with the way out."""

import pytest

from finebound.base.errors import InputError
from llm_validation.models.adapter_folder import CONFIG, WEIGHTS, adapter_files


def folder_of(tmp_path, *files):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def refused(folder) -> InputError:
    with pytest.raises(InputError) as caught:
        adapter_files(folder)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    assert caught.value.file == str(folder)
    return caught.value


def test_both_files(tmp_path):
    folder = folder_of(tmp_path, CONFIG, WEIGHTS, f"reference/{CONFIG}", f"reference/{WEIGHTS}")
    assert adapter_files(folder) == (folder / CONFIG, folder / WEIGHTS)


@pytest.mark.parametrize("files", [(CONFIG, "adapter_model.bin"), ("adapter_model.bin",)])
def test_pickled_weights_are_named_with_the_way_to_convert_them(tmp_path, files):
    error = refused(folder_of(tmp_path, *files))
    assert "adapter_model.bin" in error.what
    assert "safe_serialization=True" in error.remedy


def test_adapters_in_subfolders_are_named(tmp_path):
    folder = folder_of(tmp_path, f"policy/{CONFIG}", f"policy/{WEIGHTS}", f"reference/{CONFIG}")
    error = refused(folder)
    assert "policy, reference" in error.what
    assert str(folder / "policy") in error.remedy


def test_of_many_checkpoints_the_last_is_offered(tmp_path):
    folder = folder_of(tmp_path, *(f"checkpoint-{n}/{CONFIG}" for n in range(8, 108, 10)))
    error = refused(folder)
    assert "checkpoint-98, checkpoint-88" in error.what
    assert "and 4 more" in error.what
    assert str(folder / "checkpoint-98") in error.remedy


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ((), f"{CONFIG} and {WEIGHTS} missing."),
        ((CONFIG,), f": {WEIGHTS} missing."),
        ((WEIGHTS,), f": {CONFIG} missing."),
        (("config.json", "model.safetensors"), "it is a whole model."),
    ],
)
def test_what_is_missing(tmp_path, files, said):
    assert said in refused(folder_of(tmp_path, *files)).what


def test_no_folder(tmp_path):
    assert "no such folder" in refused(tmp_path / "gone").what
    assert "no such folder" in refused(folder_of(tmp_path, "file") / "file").what

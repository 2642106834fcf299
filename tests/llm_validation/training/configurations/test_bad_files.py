"""Files that are no training configuration say what is wrong, and no code of theirs is run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from finebound.base.errors import InputError
from llm_validation.training.configurations import read_training


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.yaml", "", "is empty"),
        ("a.json", "  \n", "is empty"),
        ("a.json", "[1, 2]", "holds a list, and no settings by name"),
        ("a.yaml", "- a\n- b", "holds a list"),
        ("a.yaml", "only words", "holds a single value"),
        ("a.json", '{"a": 1,', "is not JSON.*column"),
        ("a.json", '{"max_steps": 1, "max_steps": 2}', "'max_steps' is there twice"),
        ("a.yaml", "a: [1", "cannot be read.*Mend it"),
        ("a.yaml", "a: 1\n---\nb: 2", "cannot be read"),
        ("a.yaml", "1: 2\nlearning_rate: 3", "has the key 1, which is no text"),
        ("a.yaml", "output_dir: !!python/object/apply:os.getcwd []", "cannot be read"),
        ("a.yaml", "a: " + "[" * 5_000, "cannot be read"),
        ("a.json", '{"log_history": [], "global_step": 3}', "is a trainer's state"),
        ("a.json", '{"hidden_size": 3}', "is no training configuration.*the keys hidden_size"),
        ("a.json", "{}", "is no training configuration"),
        ("a.yaml", "\x00", "cannot be read"),
    ],
)
def test_a_file_of_another_kind(write, name, content, says):
    file = write(content, name)
    with pytest.raises(InputError, match=says) as error:
        read_training(file)
    assert error.value.file == str(file)
    assert error.value.remedy


class Harm:
    """Unpickled, it would write a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_a_pickle_is_not_opened(tmp_path):
    file, harmed = tmp_path / "training_args.bin", tmp_path / "harmed"
    file.write_bytes(pickle.dumps(Harm(harmed)))
    for path in (file, tmp_path):
        with pytest.raises(InputError, match=r"pickle.*to_json_string"):
            read_training(path)
    assert not harmed.exists()


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_training(tmp_path / "nothing.yaml")
    binary = tmp_path / "a.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="cannot be read"):
        read_training(binary)


def test_a_folder_with_none_or_several(write, tmp_path):
    with pytest.raises(InputError, match="holds no training configuration"):
        read_training(tmp_path)
    write("learning_rate: 1e-4", "a.yaml")
    write(json.dumps({"learning_rate": 1e-4}), "b.json")
    with pytest.raises(InputError, match=r"holds 2 training configurations: a.yaml, b.json"):
        read_training(tmp_path)


def test_values_that_grow_when_they_are_shown_are_cut(read):
    lines = ["x0: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(InputError, match="learning_rate is") as error:
        read("\n".join([*lines, "learning_rate: *x11"]))
    assert len(str(error.value)) < 1_000


def test_what_a_file_says_steers_no_terminal(read):
    with pytest.raises(InputError) as error:
        read('learning_rate: "\\e[31mred"')
    assert "\x1b" not in str(error.value)


def test_a_file_by_another_name_and_with_a_mark_at_its_start(write):
    assert read_training(write("\ufefflearning_rate: 1e-4", "mine.cfg")).value("epochs") == 3
    assert read_training(write('{"learning_rate": 1e-4}', "mine")).value("epochs") == 3


def test_a_secret_is_not_repeated(read):
    training = read("learning_rate: 1\nhub_token: s3cret\nmy_api_key: s3cret")
    assert len(training.unread) == 2
    assert "s3cret" not in repr(training)

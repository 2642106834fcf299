"""Records are written whole or not at all; seeds go by name."""

import errno
import json
import os

import pytest

from finebound.base.errors import InputError
from finebound.base.records import (
    manifest,
    require_folder,
    spawn_seed,
    staged_folder,
    to_json,
    write_atomically,
)


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(tmp_path, monkeypatch):
    path = tmp_path / "estimate.json"
    write_atomically(path, "old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(InputError, match=r"estimate.json: cannot be written: No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_staged_folder_appears_only_if_all_went_well(tmp_path):
    out = tmp_path / "out"

    def interrupted():
        with staged_folder(out) as stage:
            (stage / "a.json").write_text("1")
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with staged_folder(out) as stage:
        (stage / "a.json").write_text("1")
    assert (out / "a.json").read_text() == "1"
    assert list(tmp_path.iterdir()) == [out]


def test_a_staged_folder_on_a_full_disk_is_one_paragraph(tmp_path):
    with pytest.raises(InputError, match="No space left"), staged_folder(tmp_path / "out"):
        full_disk()
    assert list(tmp_path.iterdir()) == []


def test_out_may_not_be_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="is a file"), staged_folder(tmp_path / "out"):
        pass


def test_a_folder_that_exists_may_be_a_mount(tmp_path, monkeypatch):
    out, move = tmp_path / "out", os.replace
    out.mkdir()

    def within_the_mount(source, target):
        if not source.is_relative_to(out):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        move(source, target)

    monkeypatch.setattr(os, "replace", within_the_mount)
    with staged_folder(out) as stage:
        (stage / "a.json").write_text("1")
    assert [path.name for path in out.iterdir()] == ["a.json"]


def test_a_place_without_leave_to_write_is_found_before_the_work(tmp_path, monkeypatch):
    require_folder(tmp_path / "new" / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: is a file"):
        require_folder(tmp_path / "file" / "out")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InputError, match="cannot be written to"):
        require_folder(tmp_path / "new" / "out")


def test_json_has_inf_as_a_string_and_nan_as_null():
    text = to_json({"a": float("inf"), "b": [float("nan"), -float("inf")], "c": 1.5})
    assert json.loads(text) == {"a": "inf", "b": [None, "-inf"], "c": 1.5}


def test_seeds_depend_on_the_name_and_the_master_alone():
    assert spawn_seed(0, "curvature") == spawn_seed(0, "curvature")
    assert len({spawn_seed(m, n) for m in range(3) for n in ("a", "b")}) == 6


def test_a_manifest_tells_what_made_the_record():
    made = manifest(given={"lam": 1.0}, inputs={"safety": "abc"}, seed=7)
    assert made["given"] == {"lam": 1.0}
    assert made["versions"]["numpy"]
    assert made["seed"] == 7


def test_a_link_to_nothing_is_named_before_work(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "folder")
    for out in (tmp_path / "link", tmp_path / "link" / "out"):
        with pytest.raises(InputError, match="link: is a symbolic link to nothing"):
            require_folder(out)

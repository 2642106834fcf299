"""A result is the old one or the new one, whenever its process is killed; leftovers go."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from finebound.base import writing
from finebound.base.errors import InputError
from finebound.base.writing import (
    open_lock,
    remove_abandoned,
    require_folder,
    staged_folder,
    temporary_beside,
    write_atomically,
)

STEPS = ("replace", "rename", "link", "mkdir", "unlink", "rmdir", "fsync", "open", "exchange")


def killed_at(step: int, work) -> bool:
    """Do ``work`` in a process that is gone at its so-manieth call to the system."""
    pid = os.fork()
    if pid:
        return os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 77
    count = 0

    def counted(function):
        def call(*arguments, **options):
            nonlocal count
            count += 1
            if count == step:
                os._exit(77)
            return function(*arguments, **options)

        return call

    for name in STEPS:
        module = writing if name == "exchange" else os
        setattr(module, name, counted(getattr(module, name)))
    try:
        work()
        os._exit(0)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(1)


def result(out: Path, text: str):
    with staged_folder(out, gone=("tokenizer.json",)) as stage:
        for name in ("adapter.safetensors", "defend.json"):
            (stage / name).write_text(text)


def old(out: Path) -> None:
    result(out, "old")
    (out / "tokenizer.json").write_text("old")


def is_whole(out: Path) -> str:
    """Which result is there; the files of no other beside it."""
    found = {name: (out / name).read_text() for name in ("adapter.safetensors", "defend.json")}
    (text,) = set(found.values())
    assert (out / "tokenizer.json").exists() == (text == "old")
    return text


def arranged(folder: Path, what: str) -> Path:
    out = folder / "out"
    old(out)
    (out / "notes.txt").write_text("mine")
    if what == "folder within":
        (out / "figures").mkdir()
        (out / "figures" / "a.svg").write_text("mine")
    return out


@pytest.mark.parametrize("what", ["plain", "folder within", "current folder", "mount"])
def test_killed_at_any_step_a_result_is_the_old_or_the_new_one(tmp_path, monkeypatch, what):
    if what == "mount":

        def within(source, target, move=os.rename):
            if Path(source).parent != Path(target).parent:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            move(source, target)

        monkeypatch.setattr(os, "rename", within)
        monkeypatch.setattr(writing, "exchange", within)
    seen, step = set(), 0
    while True:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        out = arranged(folder, what)
        monkeypatch.chdir(out if what == "current folder" else tmp_path)
        killed = killed_at(step, lambda out=out: result(out, "new"))
        if what == "plain":
            seen.add(is_whole(out))  # as it lies there, before anything else is started
        require_folder(out)
        seen.add(is_whole(out))
        result(out, "new")
        assert is_whole(out) == "new"
        assert (out / "notes.txt").read_text() == "mine"
        kept = {"adapter.safetensors", "defend.json", "notes.txt"}
        kept |= {"figures"} if what == "folder within" else set()
        assert {file.name for file in out.iterdir()} == kept
        assert [file.name for file in folder.iterdir()] == ["out"]
        if not killed:
            break
        shutil.rmtree(folder)
    assert seen == {"old", "new"}
    assert step > 15


def test_killed_at_any_step_a_new_folder_is_there_whole_or_not_at_all(tmp_path):
    step, killed = 0, True
    while killed:
        step += 1
        out = tmp_path / str(step) / "out"
        killed = killed_at(step, lambda out=out: result(out, "new"))
        assert not out.exists() or is_whole(out) == "new"
        result(out, "new")
        assert [file.name for file in out.parent.iterdir()] == ["out"]
    assert step > 5


def test_killed_at_any_step_a_file_is_the_old_or_the_new_one(tmp_path):
    path, step, killed = tmp_path / "a.json", 0, True
    while killed:
        step += 1
        write_atomically(path, "old")
        killed = killed_at(step, lambda: write_atomically(path, "new"))
        assert path.read_text() in ("old", "new")
    write_atomically(path, "new")
    assert list(tmp_path.iterdir()) == [path]


def test_an_empty_folder_that_is_there_takes_a_result_and_keeps_its_mode(tmp_path):
    out = tmp_path / "out"
    out.mkdir(mode=0o750)
    result(out, "new")
    assert is_whole(out) == "new"
    assert out.stat().st_mode & 0o777 == 0o750


def test_a_folder_behind_a_link_stays_behind_it(tmp_path):
    there = tmp_path / "there"
    old(there)
    (tmp_path / "out").symlink_to(there)
    result(tmp_path / "out", "new")
    assert (tmp_path / "out").is_symlink()
    assert is_whole(there) == "new"


def test_the_temporary_files_of_the_dead_go_and_those_of_the_living_stay(tmp_path):
    command = (
        "import sys, time; from pathlib import Path; from finebound.base.writing import *;"
        "here = temporary_beside(Path(sys.argv[1]) / 'theta_s'); here.mkdir();"
        "(here / 'model.safetensors').write_text('x'); print(here.name, flush=True);"
        "time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", command, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    name = child.stdout.readline().strip()
    mine = temporary_beside(tmp_path / "a.json")
    mine.write_text("I am still writing")
    require_folder(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {name, mine.name}
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    require_folder(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]


def test_what_another_machine_writes_stays_for_a_day(tmp_path):
    file = tmp_path / f".a.json.{'0' * 8}-1-1-{'0' * 8}.tmp"
    file.write_text("")
    remove_abandoned(tmp_path)
    assert file.exists()
    os.utime(file, (0, 0))
    remove_abandoned(tmp_path)
    assert not file.exists()


def test_folders_and_files_are_flushed_to_the_disk(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: flushed.append(os.readlink(f"/proc/self/fd/{handle}"))
    )
    write_atomically(tmp_path / "a.json", "1")
    assert flushed[-1] == str(tmp_path)
    flushed.clear()
    result(tmp_path / "out", "1")
    assert {Path(name).name for name in flushed} >= {"adapter.safetensors", "defend.json"}
    assert flushed[-1] == str(tmp_path)


def test_a_lock_follows_no_link_and_empties_nothing(tmp_path):
    target = tmp_path / "precious"
    target.write_text("mine")
    (tmp_path / ".lock").symlink_to(target)
    with pytest.raises(InputError, match=r"\.lock: is a symbolic link"):
        open_lock(tmp_path / ".lock")
    with pytest.raises(InputError, match=r"\.lock: is a symbolic link"):  # before any work
        require_folder(tmp_path)
    assert target.read_text() == "mine"
    (tmp_path / "held").write_text("mine")
    open_lock(tmp_path / "held").close()
    assert (tmp_path / "held").read_text() == "mine"


def test_a_full_disk_behind_safetensors_is_one_paragraph(tmp_path):
    from safetensors import SafetensorError

    with (
        pytest.raises(InputError, match=r"out: cannot be written: .*No space left"),
        staged_folder(tmp_path / "out"),
    ):
        raise SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        )
    assert list(tmp_path.iterdir()) == []


def test_the_remedy_is_space_only_where_space_is_what_is_missing(tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "Free some space" in str(writing.cannot_write(tmp_path, full))
    only_read = OSError(errno.EROFS, os.strerror(errno.EROFS))
    assert "Free some space" not in str(writing.cannot_write(tmp_path, only_read))

"""What a job may take: what is free, what control groups leave, what a person allows."""

from __future__ import annotations

import pytest

from finebound.base.errors import InputError
from llm_validation.models import memory
from llm_validation.models.memory import GB, NeedsMemory, allowed_bytes, free_bytes, require_memory


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with 64 GB free, whose control groups are files in a folder."""
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("M", (), {"available": 64 * GB})())
    monkeypatch.delenv(memory.VARIABLE, raising=False)
    return tmp_path


def group(folder, *, limit, used, cached=0, names=("memory.max", "memory.current")):
    folder.mkdir(parents=True)
    for name, value in zip(names, (limit, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")


def test_without_limits_it_is_what_the_system_has(machine):
    assert free_bytes() == 64 * GB


def test_a_container_s_limit_counts_and_its_cached_files_do_not(machine):
    group(machine / "groups" / "job", limit=8 * GB, used=6 * GB, cached=GB)
    (machine / "groups" / "memory.max").write_text("max\n")
    (machine / "proc" / "self").mkdir(parents=True)
    (machine / "proc" / "self" / "cgroup").write_text("0::/job/step\n")
    assert free_bytes() == 3 * GB


def test_the_older_control_groups_are_read_too(machine):
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    group(machine / "groups" / "memory", limit=4 * GB, used=GB, names=names)
    assert free_bytes() == 3 * GB


def test_what_a_person_allows_counts_what_the_process_has(machine, monkeypatch):
    monkeypatch.setenv(memory.VARIABLE, "10")
    left = allowed_bytes()
    assert 5 * GB < left < 10 * GB
    require_memory(GB, "a job", remedy="")
    with pytest.raises(NeedsMemory, match=r"a job needs about 50.0 GB, and \d\.\d GB may be used"):
        require_memory(50 * GB, "a job", remedy="Take less.")
    monkeypatch.setenv(memory.VARIABLE, "0.05")
    with pytest.raises(
        NeedsMemory,
        match=r"a job needs about 2.0 MB, and 0.0 MB may be used \(of the 51.2 MB allowed this "
        r"process holds .*\)",
    ):
        require_memory(2 << 20, "a job", remedy="Allow more.")
    monkeypatch.setenv(memory.VARIABLE, "10")
    # What is there already has not to be found anew.
    require_memory(50 * GB, "a job", held=48 * GB, remedy="")
    for wrong in ("much", "0", "-3", "inf", "nan"):
        monkeypatch.setenv(memory.VARIABLE, wrong)
        with pytest.raises(InputError, match=memory.VARIABLE):
            allowed_bytes()

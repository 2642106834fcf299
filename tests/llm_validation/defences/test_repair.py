"""A repaired adapter is written whole, whenever its process is killed."""

import json
import os
import signal
from dataclasses import replace

import pytest

import finebound.base.writing
from finebound.base.errors import InputError
from finebound.base.records import manifest
from finebound.results.tradeoff import DefendResult
from llm_validation.defences.lora_file import read_adapter
from llm_validation.defences.repair import require_out, write_repaired

_STEPS = ("mkdir", "link", "fsync", "rename", "replace", "unlink")


def said(method: str) -> DefendResult:
    made = manifest(given={}, inputs={}, seed=0)
    return DefendResult(
        method=method, stage="after", settings={}, modules=(), notes=(), manifest=made
    )


def state(out) -> tuple:
    """What the folder says that it is: the record's own word and the size of the weights."""
    if not (out / "defend.json").is_file():
        return None, None
    found = json.loads((out / "defend.json").read_text())
    return found["method"], len(read_adapter(out).modules)


def killed_at(step: int, out, adapter, record) -> bool:
    """Write in a process that is killed before its ``step``-th touch of the disk: was it?"""
    child = os.fork()
    if not child:
        left = [step]

        def deadly(real):
            def call(*args, **kwargs):
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return real(*args, **kwargs)

            return call

        for name in _STEPS:
            setattr(finebound.base.writing.os, name, deadly(getattr(os, name)))
        finebound.base.writing.exchange = deadly(finebound.base.writing.exchange)
        try:
            write_repaired(out, adapter, record)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("with_a_folder", [False, True])
def test_killed_anywhere_it_leaves_the_old_result_or_the_new(
    write_adapter, tmp_path, with_a_folder
):
    old = read_adapter(write_adapter())
    new = replace(old, modules=old.modules[:3])
    states, step, out = {"old": ("old", 15), "new": ("new", 3)}, 0, tmp_path / "out"
    seen = set()
    while True:
        write_repaired(out, old, said("old"))
        if with_a_folder:  # such a folder's files are moved in, not exchanged
            (out / "kept").mkdir(exist_ok=True)
        killed = killed_at(step, out, new, said("new"))
        require_out(out, tmp_path)  # as the same command does first
        assert state(out) in states.values(), step
        seen.add(state(out))
        assert not any(tmp_path.glob(".out.*"))
        write_repaired(out, new, said("new"))
        assert state(out) == states["new"]
        if not killed:
            break
        step += 1
    assert step > 5
    assert seen == set(states.values())


@pytest.mark.parametrize("content", ["", "[", "[" * 5_000, "[]", "{}", "\x00"])
def test_a_folder_that_says_nothing_readable_is_not_overwritten(tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "defend.json").write_text(content)
    with pytest.raises(InputError, match="no defended adapter"):
        require_out(tmp_path / "out", tmp_path)

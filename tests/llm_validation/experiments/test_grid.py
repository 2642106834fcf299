"""A grid skips what is done, tries killed workers again, and never mixes two configurations."""

import json
import shutil
import sys
import threading
import time
import types

import pytest

from finebound.base.errors import InputError
from llm_validation.experiments import attempts as attempts_module
from llm_validation.experiments import grid as grid_module
from llm_validation.experiments import worker as worker_module
from llm_validation.experiments.attempts import Clock, locked, read_attempts
from llm_validation.experiments.config import expand, experiment_of
from llm_validation.experiments.grid import run_grid, run_in_processes
from llm_validation.experiments.prepare import read_prepared
from llm_validation.experiments.run import is_done, run_folder
from llm_validation.experiments.worker import work_on


@pytest.fixture
def prepared(finished, content, tmp_path):
    """The finished experiment in a folder of this test's own."""
    out = tmp_path / "out"
    shutil.copytree(finished.prepared.out, out)
    return read_prepared(experiment_of(content), out)


@pytest.fixture
def runs(content):
    return expand(experiment_of(content))


def worker(tmp_path, script):
    """A worker command that runs ``script`` with OUT and RUN as arguments."""
    file = tmp_path / "worker.py"
    file.write_text("import os, pathlib, signal, sys\nout, run = sys.argv[1:]\n" + script)
    return lambda out, run: [sys.executable, str(file), str(out), run]


def undo(prepared, run):
    """As if the run had never been finished; returns what its record was."""
    file = run_folder(prepared.out, run.id) / "record.json"
    text = file.read_text()
    file.unlink()
    return text


def test_done_runs_are_skipped(prepared, runs, monkeypatch):
    monkeypatch.setattr(grid_module, "work", lambda *_, **__: pytest.fail("was run again"))
    outcomes = run_grid(prepared, runs)
    assert [o.status for o in outcomes] == ["done"] * len(runs)
    assert all([a["outcome"] for a in o.attempts] == ["done"] for o in outcomes)


def test_what_is_not_done_is_finished_from_the_finetune_that_is_there(prepared, runs):
    record = json.loads(undo(prepared, runs[0]))
    (outcome, *_) = run_grid(prepared, runs)
    assert outcome.status == "done"
    again = json.loads((run_folder(prepared.out, runs[0].id) / "record.json").read_text())
    when = dict.fromkeys(("seconds", "finished", "content_sha256"))
    assert {**again, **when} == {**record, **when}


def test_a_failed_run_stops_no_other(prepared, runs, monkeypatch):
    for run in runs[:2]:
        undo(prepared, run)
    original = grid_module.work

    def work(run, *args, **more):
        if run.id == runs[0].id:
            raise InputError("training diverged.", remedy="Lower the rate.")
        original(run, *args, **more)

    monkeypatch.setattr(grid_module, "work", work)
    outcomes = run_grid(prepared, runs)
    assert [o.status for o in outcomes] == ["failed", *["done"] * (len(runs) - 1)]
    assert "diverged" in outcomes[0].error


def test_no_run_is_begun_after_the_time_is_over(prepared, runs, monkeypatch):
    undo(prepared, runs[0])
    monkeypatch.setattr(Clock, "is_over", property(lambda self: True))
    assert run_grid(prepared, runs)[0].status == "pending"


def test_a_killed_worker_is_tried_again(prepared, runs, tmp_path):
    record = undo(prepared, runs[0])
    (tmp_path / "record.json").write_text(record)
    command = worker(
        tmp_path,
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        "folder = pathlib.Path(out) / 'runs' / run\n"
        "if not (here / 'first').exists():\n"
        "    (here / 'first').touch()\n"
        "    from llm_validation.experiments.attempts import attempt\n"
        "    with attempt(folder):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "(folder / 'record.json').write_text((here / 'record.json').read_text())\n",
    )
    assert run_in_processes(prepared, runs[:1], workers=1, clock=Clock(), command=command) == {}
    assert is_done(runs[0], prepared)
    outcomes = [a["outcome"] for a in read_attempts(run_folder(prepared.out, runs[0].id))]
    assert outcomes == ["done", "killed"]


def test_a_worker_that_always_dies_is_given_up(prepared, runs, tmp_path):
    undo(prepared, runs[0])
    log = tmp_path / "log"
    command = worker(
        tmp_path, f"open({str(log)!r}, 'a').write('x')\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    errors = run_in_processes(prepared, runs[:1], workers=2, clock=Clock(), command=command)
    assert "signal 9" in errors[runs[0].id]
    assert log.read_text() == "x" * attempts_module.MOST_ATTEMPTS


def test_a_refused_run_is_not_tried_again(prepared, runs, tmp_path):
    undo(prepared, runs[0])
    log = tmp_path / "log"
    command = worker(tmp_path, f"open({str(log)!r}, 'a').write('x')\nsys.exit(2)\n")
    errors = run_in_processes(prepared, runs[:1], workers=1, clock=Clock(), command=command)
    assert list(errors) == [runs[0].id]
    assert log.read_text() == "x"


def test_another_configurations_folder_is_refused_before_anything_runs(
    prepared, content, monkeypatch
):
    other = experiment_of({**content, "training": {**content["training"], "learning_rate": 0.02}})
    monkeypatch.setattr(grid_module, "work", lambda *_, **__: pytest.fail("ran"))
    with pytest.raises(InputError, match=r"another configuration.*configuration_sha256"):
        run_grid(prepared, expand(other))
    for run in expand(other):
        undo(prepared, run)
    with pytest.raises(InputError, match=r"another configuration.*plan"):
        run_grid(prepared, expand(other))


@pytest.mark.parametrize("name", ["../other", "a/b", "..", ".", "", "/etc", "x/../../y"])
def test_no_run_leaves_the_folder(prepared, name):
    with pytest.raises(InputError, match="outside"):
        run_folder(prepared.out, name)
    with pytest.raises(InputError, match="outside"):
        work_on(prepared.out, name)


def test_two_processes_do_not_share_a_folder(prepared, runs):
    with locked(prepared.out, wait=False), pytest.raises(InputError, match="another process"):
        run_grid(prepared, runs)


def test_the_lock_follows_no_link_out_of_the_folder(prepared, tmp_path):
    target = tmp_path / "precious"
    target.write_text("mine")
    (prepared.out / ".lock").unlink(missing_ok=True)
    (prepared.out / ".lock").symlink_to(target)
    with pytest.raises(InputError, match="symbolic link"), locked(prepared.out, wait=False):
        pass
    assert target.read_text() == "mine"


def test_a_run_that_an_orphan_of_a_killed_grid_finishes_is_not_run_twice(
    prepared, runs, tmp_path, monkeypatch
):
    record = undo(prepared, runs[0])
    folder = run_folder(prepared.out, runs[0].id)
    started = threading.Event()

    def orphan():
        with locked(folder, wait=True):
            started.set()
            time.sleep(0.5)
            (folder / "record.json").write_text(record)

    monkeypatch.setattr(worker_module, "execute", lambda *_, **__: pytest.fail("was run twice"))
    thread = threading.Thread(target=orphan)
    thread.start()
    started.wait()
    (outcome, *_) = run_grid(prepared, runs)
    thread.join()
    assert outcome.status == "done"


def test_changed_rows_are_refused(prepared, content):
    file = prepared.out / "data" / "safety.jsonl"
    file.write_text(file.read_text().replace("help", "HELP"))
    with pytest.raises(InputError, match="is not the file that was written"):
        read_prepared(experiment_of(content), prepared.out)


def test_ray_is_asked_for_by_name(prepared, runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install '\.\[cluster\]'"):
        run_grid(prepared, runs, executor="ray")


class FakeRay(types.ModuleType):
    """What the executor uses of Ray, in this process; one task's worker is lost."""

    def __init__(self, lost):
        super().__init__("ray")
        self.lost, self.options_given, self.address = lost, None, None
        self.exceptions = types.SimpleNamespace(RayError=KeyError)

    def init(self, address, **_):
        self.address = address

    def shutdown(self):
        self.address = None

    def cluster_resources(self):
        return {"CPU": 8.0, "GPU": 2.0}

    def remote(self, function):
        def options(**given):
            self.options_given = given
            return types.SimpleNamespace(remote=lambda *args: (function, args))

        return types.SimpleNamespace(options=options)

    def wait(self, tasks, num_returns):
        assert len(tasks) <= 2  # as many as there are GPUs
        return tasks[:1], tasks[1:]

    def get(self, task):
        function, args = task
        if args[1] == self.lost:
            raise KeyError("worker died")
        return function(*args)


def test_on_ray_every_run_has_a_gpu_and_a_lost_one_is_told(prepared, runs, monkeypatch):
    for run in runs:
        undo(prepared, run)
    ray = FakeRay(lost=runs[1].id)
    monkeypatch.setitem(sys.modules, "ray", ray)
    outcomes = run_grid(prepared, runs, executor="ray", address="auto")
    assert [o.status for o in outcomes] == ["done", "failed", *["done"] * (len(runs) - 2)]
    assert "worker died" in outcomes[1].error
    assert ray.options_given == {"num_cpus": 1, "num_gpus": 1, "max_retries": 2}

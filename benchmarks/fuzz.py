"""Damaged input of every kind, seeded, through the command: is every end a result or a word?

``python -m benchmarks.fuzz [--what configurations folders checkpoints] [--count 1000] [--seed 0]``

Each case changes one thing: a value, a byte, the end of a file, a file for another run's. The
command then has to end with a result, or with one paragraph and exit code 2. Anything else is told
with the case's number, which ``--seed`` and ``--count 1`` make again. Exit code 1 if there is any.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO

from matplotlib.figure import Figure

from finebound.cli import main as finebound

_TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.append(str(_TESTS / "builders"))

from fuzz import mutated_bytes, mutated_value  # noqa: E402

_SEALS = ("content_sha256", "files")
_STOPPED_AFTER = 5
_THETA_S = "behaviour/theta_s/refusal.json"


def configuration(model: Path) -> dict:
    """A whole experiment of a tiny model: every kind of entry, seconds of work."""
    return {
        "name": "tiny",
        "model": str(model),
        "safety": "builtin:safety",
        "tasks": {"general": "builtin:task-general"},
        "proxies": {"original": "safety"},
        "methods": {"lora": {"rank": 2, "targets": ["q_proj", "v_proj"]}},
        "rows": {"safety": 8, "task": 8, "proxy": 8, "held_out": 4},
        "alignment": {"steps": 4, "learning_rate": 0.01, "batch_size": 4},
        "training": {
            "steps": 6,
            "learning_rate": 0.01,
            "batch_size": 2,
            "evaluate_at": [0.0, 0.5, 1.0],
            "checkpoint_every": 2,
        },
        "grid": [
            {"tasks": ["general"], "unconstrained": True},
            {"tasks": ["general"], "proxies": ["original"], "lam": [2.0]},
        ],
        "landscape": {"rows_for_curvature": 2, "lanczos_steps": 2, "tokens_a_curvature_row": 32},
        "forecast": {"share": 0.9, "gradient_rows": 3},
        "generations": {"prompts": 2, "max_new_tokens": 3},
        "behaviour": {"refusal": {"rows": 2, "max_new_tokens": 3}},
    }


class Bench:
    """What the cases begin with, made once in ``folder``: a model, a finished and a stopped run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Pages are made and written; what costs is the ink of their plots, which nobody sees.
        Figure.savefig = _draw_nothing
        spec = importlib.util.spec_from_file_location("tiny", _TESTS / "conftest.py")
        tiny = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tiny)
        self.model = tiny.build_tiny_model_folder(folder / "model")
        self.content = configuration(self.model)
        self.config = folder / "tiny.json"
        self.config.write_text(json.dumps(self.content))
        self._made: dict[str, Path] = {}

    def finished(self) -> Path:
        """The folder of the finished experiment; not to be changed."""
        if "finished" not in self._made:
            out = self.folder / "finished"
            code, words = outcome(["validate", str(self.config), "--out", str(out)])
            if code not in (0, 1):
                raise RuntimeError(words)
            self._made["finished"] = out
        return self._made["finished"]

    def stopped(self) -> Path:
        """The same, but one run stopped between two checkpoints."""
        if "stopped" not in self._made:
            out = shutil.copytree(self.finished(), self.folder / "stopped")
            run = sorted((out / "runs").iterdir())[0]
            for entry in run.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            from llm_validation.training import callbacks

            show = callbacks.ProgressCallback.on_step_end

            def stop(self, args, state, control, **more):
                show(self, args, state, control, **more)
                if state.global_step == _STOPPED_AFTER:
                    raise KeyboardInterrupt

            callbacks.ProgressCallback.on_step_end = stop
            try:
                outcome(["validate", str(self.config), "--out", str(out)])
            finally:
                callbacks.ProgressCallback.on_step_end = show
            if len(list(run.glob("checkpoints/checkpoint-*"))) != 2:
                raise RuntimeError("the run left no two checkpoints")
            self._made["stopped"] = out
        return self._made["stopped"]


def _draw_nothing(figure: Figure, out: str | Path | IO[bytes], **_: object) -> None:
    if isinstance(out, str | Path):
        Path(out).write_bytes(b"<svg/>")
    else:
        out.write(b"<svg/>")


def outcome(arguments: list[str]) -> tuple[int | str, str]:
    """Exit code of the command, or the exception's name; and what it said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code: int | str = finebound(arguments)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 2
        except Exception as error:
            code = type(error).__name__
            traceback.print_exc()
    return code, said.getvalue()


def damage_json(file: Path, rng: random.Random) -> str:
    """One thing changed in a JSON file: a value, or a byte of its text."""
    text = file.read_bytes()
    if rng.random() < 0.4:
        file.write_bytes(mutated_bytes(text, rng))
        return f"bytes of {file.name}"
    value = json.loads(text)
    if isinstance(value, dict) and rng.random() < 0.7:
        for name in _SEALS:  # as if it were an old record: nothing tells what was changed
            value.pop(name, None)
    value = mutated_value(value, rng)
    file.write_text(json.dumps(value))
    return f"value in {file.name}"


def damage_folder(folder: Path, other: Path | None, rng: random.Random) -> str:
    """One file of a folder changed, cut, removed, or exchanged for that of an ``other`` folder."""
    files = sorted(f for f in folder.rglob("*") if f.is_file() and f.name != ".lock")
    file = rng.choice(files)
    name = file.relative_to(folder)
    kind = rng.randrange(6)
    if kind == 0:
        file.unlink()
        return f"{name} removed"
    if kind == 1 and other is not None and (other / name).is_file():
        shutil.copyfile(other / name, file)
        return f"{name} of another run"
    if file.suffix == ".json" and kind < 5:
        return f"{name}: {damage_json(file, rng)}"
    file.write_bytes(mutated_bytes(file.read_bytes(), rng))
    return f"bytes of {name}"


def configurations(bench: Bench, rng: random.Random, place: Path) -> tuple[str, list[list[str]]]:
    file = place / "c.json"
    if rng.random() < 0.25:
        file.write_bytes(mutated_bytes(json.dumps(bench.content).encode(), rng))
    else:
        value = mutated_value(bench.content, rng)
        try:
            file.write_text(json.dumps(value))
        except RecursionError:
            file.write_text("[" * 10_000)
    return "", [["validate", str(file), "--dry-run", *rng.choice(([], ["--json"]))]]


def folders(bench: Bench, rng: random.Random, place: Path) -> tuple[str, list[list[str]]]:
    out = shutil.copytree(bench.finished(), place / "out")
    runs = sorted((out / "runs").iterdir())
    run = rng.choice(runs)
    refusal = run / "behaviour" / "refusal.json"
    if rng.random() < 0.5:
        told = damage_folder(run, next(r for r in runs if r != run), rng)
        ask = [["report", str(run)], ["compare", str(refusal), str(out / _THETA_S)]]
    else:
        told = damage_folder(out, None, rng)
        ask = [["report", str(out)], ["report", str(run)], ["compare", str(out / "validate.json")]]
    commands = [rng.choice(ask)]
    if rng.random() < 0.05:
        commands.append(["validate", str(bench.config), "--out", str(out)])
    return told, commands


def checkpoints(bench: Bench, rng: random.Random, place: Path) -> tuple[str, list[list[str]]]:
    out = shutil.copytree(bench.stopped(), place / "out")
    run = next(r for r in sorted((out / "runs").iterdir()) if (r / "checkpoints").is_dir())
    saved = sorted((run / "checkpoints").glob("checkpoint-*"))
    where, other = rng.choice(((saved[1], saved[0]), (saved[0], saved[1]), (run, None)))
    told = damage_folder(where, other, rng)
    return told, [["validate", str(bench.config), "--out", str(out)]]


Case = Callable[[Bench, random.Random, Path], tuple[str, list[list[str]]]]
CASES: dict[str, Case] = {
    "configurations": configurations,
    "folders": folders,
    "checkpoints": checkpoints,
}


def is_word(code: int | str, said: str) -> bool:
    """Whether an end is a result (0, or 1: a check failed), or one paragraph of words."""
    if code in (0, 1):
        return "Traceback" not in said
    lines = [line for line in said.splitlines() if line.startswith("finebound ")]
    return code == 2 and len(lines) == 1 and "Traceback" not in said


def fuzz(bench: Bench, what: str, seed: int) -> tuple[list[int | str], str | None]:
    """One case: its exit codes, and what was wrong with it."""
    rng = random.Random(f"{what} {seed}")
    place = Path(tempfile.mkdtemp(dir=bench.folder))
    codes: list[int | str] = []
    try:
        told, commands = CASES[what](bench, rng, place)
        for command in commands:
            code, said = outcome(command)
            codes.append(code)
            if not is_word(code, said):
                return codes, f"{what} {seed}: {told}: {' '.join(command)}: {code}\n{said[-3000:]}"
        return codes, None
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--what", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="number of the first case")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="at most, for each")
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for what in options.what:
            counts: Counter[int | str] = Counter()
            started, done = time.monotonic(), 0
            for seed in range(options.seed, options.seed + options.count):
                if time.monotonic() - started > 60 * options.minutes:
                    break
                codes, wrong = fuzz(bench, what, seed)
                counts.update(codes)
                done += 1
                if wrong is not None:
                    failed = True
                    print(wrong, flush=True)
            seconds = time.monotonic() - started
            ends = ", ".join(f"{n} x {code}" for code, n in sorted(counts.items(), key=str))
            print(f"{what}: {done} cases in {seconds:.0f} s; exit codes {ends}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

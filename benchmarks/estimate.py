"""``finebound estimate`` as a user runs it: seconds and peak memory of the whole process.

``python -m benchmarks.estimate`` measures 10,000 and 100,000 rows a dataset without a model
(targets: 90 s and 4 GB at 100,000; ten times the rows at most 12 times the time) and 256 rows with
the packaged model (targets: 6 minutes and 6 GB on two cores). ``--text`` leaves the model out.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.text_measures import make_texts, vocabulary

SIZES = (10_000, 100_000)


def write_rows(path: Path, n: int, shift: int) -> Path:
    """``n`` rows of a prompt of 20 words and an answer of 30; ``shift`` moves the vocabulary."""
    rng = np.random.default_rng(shift)
    words, weights = vocabulary(np.random.default_rng(0))
    weights = np.roll(weights, shift)
    prompts = make_texts(n, words, weights, rng)
    answers = make_texts(n, words, weights, rng, length=30)
    with path.open("w") as stream:
        for prompt, answer in zip(prompts, answers, strict=True):
            stream.write(json.dumps({"prompt": prompt, "response": answer}) + "\n")
    return path


def run(*arguments: str) -> tuple[float, float]:
    """Wall seconds and peak GB of ``finebound estimate`` with these arguments."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "finebound", "estimate", *arguments]
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=quiet)
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise SystemExit(f"finebound estimate failed with status {status}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024 / 1e9


def main() -> None:
    seconds = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for n in SIZES:
            safety = write_rows(folder / "safety.jsonl", n, 0)
            task = write_rows(folder / "task.jsonl", n, 40)
            seconds[n], peak = run(
                "--safety", str(safety), "--task", str(task), "--out", str(folder / "out")
            )
            print(f"text, 2 x {n:>7,} rows: {seconds[n]:6.1f} s, {peak:.2f} GB")
        few, many = SIZES
        print(f"10 times the rows: {seconds[many] / seconds[few]:.1f} times the time (at most 12)")
        if "--text" in sys.argv:
            return
        taken, peak = run(
            "--safety", "builtin:safety", "--task", "builtin:task-general",
            "--proxy", "builtin:proxy-same-teacher", "--model", "packaged",
            "--model-rows", "256", "--out", str(folder / "out"),
        )  # fmt: skip
        print(f"packaged model, 3 x 256 rows: {taken:6.1f} s, {peak:.2f} GB")


if __name__ == "__main__":
    main()

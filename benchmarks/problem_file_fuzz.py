"""Seeded damage to problem files: each is refused in one paragraph or answered, never a crash.

``python -m benchmarks.problem_file_fuzz [CASES]`` (default 1000): how many were refused and how
many answered, over the three kinds of problem and all strategies. What is answered holds no NaN.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from finebound.cli import main as finebound
from tests.builders.fuzz import mutated_bytes, mutated_value, with_key_twice

PROBLEMS = {
    "tabular": {
        "kind": "tabular",
        "safety": {"context": [0.5, 0.5], "target": [[0.9, 0.1], [0.2, 0.8]]},
        "task": {"context": [0.25, 0.75], "target": [[0.0, 1.0], [0.2, 0.8]]},
        "proxy": {"context": [0.5, 0.5], "target": [[0.8, 0.2], [0.2, 0.8]]},
        "aligned": [[0.9, 0.1], [0.2, 0.8]],
    },
    "quadratic": {
        "kind": "quadratic",
        "H_s": [[1, 0], [0, 2]],
        "H_f": [[1, 0.5], [0.5, 1]],
        "theta_s": [0, 0],
        "theta_f": [1, 1],
    },
    "constants": {
        "kind": "constants",
        "capability_gap_at_aligned": 0.8,
        "loss_range": 12,
        "tv": {"value": 0.01, "known": "high_probability", "failure_probability": 0.05},
        "vocabulary": 50,
        "coverage_ratio": 2.5,
        "logit_lipschitz": {"value": 3.0, "known": "estimated"},
        "kl": {"value": 0.1, "unit": "nats"},
    },
}
_STRATEGIES = (
    ["--lam", "0.5"],
    ["--epsilon", "0.01"],
    ["--strategy", "parameter", "--radius", "0.5"],
    ["--strategy", "hybrid", "--lam", "2", "--radius", "0.5"],
)


def damaged(kind: str, case: int) -> bytes:
    """Case ``case`` of a kind: a value, a key or the bytes changed."""
    rng = random.Random(f"{kind} {case}")
    content = PROBLEMS[kind]
    match rng.randrange(4):
        case 0:
            return mutated_bytes(json.dumps(content, indent=1).encode(), rng)
        case 1:
            return with_key_twice(content, rng).encode("utf-8", "replace")
    for _ in range(rng.choice((1, 1, 2))):
        content = mutated_value(content, rng)
    return json.dumps(content).encode("utf-8", "replace")


def fuzz(folder: Path, kind: str, cases: Iterable[int]) -> tuple[int, int]:
    """How many were refused and how many answered. Fails on anything else."""
    refused = answered = 0
    for case in cases:
        path = Path(folder) / f"{kind}.json"
        path.write_bytes(damaged(kind, case))
        out, err = io.StringIO(), io.StringIO()
        options = _STRATEGIES[case % len(_STRATEGIES)]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = finebound(["bound", str(path), *options, "--json"])
        told = err.getvalue()
        if code == 2:
            refused += 1
            assert out.getvalue() == "", (kind, case)
            assert path.name in told, (kind, case, told)
            assert told.count("\n") == 1, (kind, case, told)
            assert len(told) < 3000, (kind, case, told)
            assert told.isprintable() or told[:-1].isprintable(), (kind, case, told)
        else:
            answered += 1
            assert code == 0, (kind, case, told)
            content = json.loads(out.getvalue())
            for b in content["bounds"]:
                assert b["value"] is not None, (kind, case, b)
    return refused, answered


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        for kind in PROBLEMS:
            refused, answered = fuzz(Path(folder), kind, range(cases // len(PROBLEMS) + 1))
            print(f"{kind:10} {refused:5d} refused in words, {answered:5d} answered")


if __name__ == "__main__":
    main()

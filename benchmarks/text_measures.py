"""Processor time and peak memory of the measures on text, at 10,000 and 100,000 prompts a side.

Run ``python benchmarks/text_measures.py [--rows 10000 100000]``. Each size runs in a process of
its own, so that its peak memory is its own. Prompts of about 20 words from a Zipf vocabulary with
a few shared templates and duplicates; embeddings of 64 dimensions. Processor seconds, so that other
work on the machine does not count; they add up over the threads.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

DIMENSIONS = 64


def make_texts(
    n: int, words: np.ndarray, weights: np.ndarray, rng: np.random.Generator, length: int = 20
) -> list[str]:
    """``n`` texts; a tenth follow one of 50 templates, a hundredth repeat an earlier one."""
    ids = rng.choice(len(words), size=(n, length), p=weights)
    templates = np.random.default_rng(7).choice(len(words), size=(50, length), p=weights)
    templated = rng.random(n) < 0.1
    blank = rng.random((n, length)) < 0.15
    ids = np.where(templated[:, None] & ~blank, templates[rng.integers(50, size=n)], ids)
    copied = np.flatnonzero(rng.random(n) < 0.01)
    ids[copied] = ids[rng.integers(n, size=copied.size)]
    return [" ".join(row) for row in words[ids]]


def vocabulary(rng: np.random.Generator, size: int = 30_000) -> tuple[np.ndarray, np.ndarray]:
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.unique(["".join(rng.choice(letters, size=rng.integers(2, 9))) for _ in range(size)])
    rng.shuffle(words)
    weights = 1.0 / np.arange(10, len(words) + 10)
    return words, weights / weights.sum()


def measure(rows: int) -> dict[str, float]:
    """Processor seconds of each step and the process's peak memory in GB."""
    from llm_validation.data.dataset import Dataset
    from llm_validation.measure.classifier import embedding_classifier, ngram_classifier
    from llm_validation.measure.clusters import embedding_clusters, ngram_clusters
    from llm_validation.measure.context_overlap import TextPair, closest_pairs
    from llm_validation.measure.exact_match import exact_match
    from llm_validation.measure.near_duplicates import near_duplicates
    from llm_validation.measure.proxy_mismatch import proxy_mismatch

    rng = np.random.default_rng(0)
    words, weights = vocabulary(rng)
    safety = make_texts(rows, words, weights, rng)
    task = make_texts(rows, words, np.roll(weights, 40), rng)
    vectors = [
        (rng.normal(size=(rows, DIMENSIONS)) + shift).astype(np.float32) for shift in (0.0, 0.1)
    ]
    answers = [make_texts(rows, words, weights, rng, length=30) for _ in range(2)]
    half = rows // 2
    safety_set = Dataset.of(zip(safety, answers[0], strict=True), name="safety")
    proxy_set = Dataset.of(zip(safety[:half] + task[half:], answers[1], strict=True), name="proxy")
    taken: dict[str, float] = {}
    walls: list[float] = []

    def timed(name: str, step: Callable[[], object]) -> object:
        start, wall = time.process_time(), time.perf_counter()
        result = step()
        taken[name] = time.process_time() - start
        walls.append(time.perf_counter() - wall)
        print(f"  {rows:>7} rows  {name:<30} {taken[name]:7.2f} s", file=sys.stderr, flush=True)
        return result

    pair = TextPair.of(safety[:1], task[:1])
    pair = timed("read and normalise", lambda: TextPair.of(safety, task))
    timed("count n-grams", lambda: pair.ngrams)
    timed("exact match", lambda: exact_match(pair))
    timed("near duplicates", lambda: near_duplicates(pair, seed=0))
    timed("n-gram clusters", lambda: ngram_clusters(pair, seed=0))
    timed("n-gram classifier", lambda: ngram_classifier(pair, seed=0))
    timed("embedding clusters", lambda: embedding_clusters(*vectors, seed=0))
    timed("embedding classifier", lambda: embedding_classifier(*vectors, seed=0))
    timed("closest pairs", lambda: closest_pairs(safety, task, 20, pair=pair))
    overlap_total = sum(taken.values())
    timed("proxy mismatch, both parts", lambda: proxy_mismatch(safety_set, proxy_set, seed=0))
    taken["context overlap, all"] = overlap_total
    taken["everything"] = overlap_total + taken["proxy mismatch, both parts"]
    taken["everything, wall clock"] = sum(walls)
    taken["peak GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--json", action="store_true", help="one size, one JSON object on stdout")
    options = parser.parse_args()
    if options.json:
        print(json.dumps(measure(options.rows[0])))
        return
    results = []
    for rows in options.rows:
        command = [sys.executable, __file__, "--json", "--rows", str(rows)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(done.stdout))
    print(f"{'':<30}" + "".join(f"{rows:>12}" for rows in options.rows) + f"{'last/first':>12}")
    for name, first in results[0].items():
        values = "".join(f"{result[name]:>12.2f}" for result in results)
        print(f"{name:<30}{values}{results[-1][name] / max(first, 1e-9):>12.1f}")


if __name__ == "__main__":
    main()

"""Processor time to label 100,000 recorded answers.

``python -m benchmarks.labelling [ANSWERS [FILE]]``: of the built-in safety set, or of a file with
prompt and response, again and again until there are enough (target: 45 s).
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from itertools import cycle, islice

from llm_validation.data.builtin import builtin_dataset
from llm_validation.evaluation.refusal.classifier import classify_all
from llm_validation.evaluation.responses import read_responses

ANSWERS = 100_000
TARGET = 45.0


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else ANSWERS
    if len(sys.argv) > 2:
        rows = read_responses(sys.argv[2]).pairs
    else:
        rows = [(e.prompt, e.response) for e in builtin_dataset("safety").examples]
    classify_all(rows[:10])  # the languages are read once
    start = time.process_time()
    labels = classify_all(islice(cycle(rows), count))
    taken = time.process_time() - start
    characters = sum(len(response or "") for _, response in rows) / len(rows)
    found = dict(Counter(map(str, labels)))
    print(f"{count} answers of {characters:.0f} characters on average: {found}")
    print(f"{taken:.1f} s of processor time  (target: {TARGET * count / ANSWERS:.0f})")


if __name__ == "__main__":
    main()

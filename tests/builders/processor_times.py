"""A pytest plugin: the processor seconds of each test function, its processes' included.

``pytest -p processor_times --processor-times FILE`` adds to FILE, as JSON, the seconds by function
(``tests/x.py::test_y``); a later run of the same function replaces its entry. ``python
tests/builders/processor_times.py FILE LIMIT`` adds the functions above LIMIT seconds to
``tests/slow.txt`` and takes out those that FILE does not have: it must be of all tests. The time to
make a shared fixture counts for the first function that asks for it, so that a second run without
the slow ones may find further ones.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

SLOW = Path(__file__).parents[1] / "slow.txt"
_SECONDS: Counter[str] = Counter()


def function_of(nodeid: str) -> str:
    """A test's id without its parameters."""
    return nodeid.partition("[")[0]


def slow_functions() -> frozenset[str]:
    """The functions named in ``slow.txt``."""
    lines = SLOW.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--processor-times", type=Path, help="add the seconds by function to FILE")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    before = sum(os.times()[:4])
    yield
    _SECONDS[function_of(item.nodeid)] += sum(os.times()[:4]) - before


def pytest_sessionfinish(session: pytest.Session) -> None:
    file: Path | None = session.config.getoption("--processor-times")
    if file is None or not _SECONDS:
        return
    with file.open("a+") as stream:  # several workers end at the same time
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.seek(0)
        known = json.loads(stream.read() or "{}")
        stream.truncate(0)
        json.dump(known | dict(_SECONDS), stream, indent=0, sort_keys=True)


def main(file: Path, limit: float) -> None:
    seconds = json.loads(file.read_text())
    slow = slow_functions() | {name for name, spent in seconds.items() if spent > limit}
    head = [line for line in SLOW.read_text().splitlines() if line.startswith("#")]
    SLOW.write_text("\n".join([*head, *sorted(slow & seconds.keys())]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))

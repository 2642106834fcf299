"""Mutations of data files: each is read, or refused with its file and a remedy; nothing else."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest
from data_files import assistant, user
from fuzz import mutated_bytes, mutated_value, refusal, with_key_twice

from llm_validation.data.loading import load_dataset
from llm_validation.data.reading import reading_as_json, reading_lines

CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
FILES: dict[str, list[dict[str, Any]]] = {
    "pairs": [{"prompt": f"q{i}", "response": f"a{i}", "id": i} for i in range(4)],
    "alpaca": [
        {"instruction": "q", "input": "i", "output": "a", "system": "s", "history": [["b", "c"]]},
        {"instruction": "q", "input": "", "output": "a", "system": "", "history": []},
    ],
    "messages": [
        {"messages": [user("a"), assistant("b", weight=0), user("c"), assistant("d")], "tools": []},
        {
            "messages": [
                user([{"type": "text", "text": "a"}]),
                assistant(None, tool_calls=[CALL]),
                {"role": "tool", "tool_call_id": "1", "content": "x"},
                assistant("b", reasoning_content="r"),
            ],
            "tools": [{"type": "function", "function": {"name": "f"}}],
        },
    ],
    "sharegpt": [
        {
            "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
            "system": "s",
            "label": True,
        }
    ]
    * 2,
    "preference": [
        {"prompt": "q", "chosen": [user("q"), assistant("a")], "rejected": "b"},
        {"prompt": [user("q")], "chosen": [assistant("a")], "rejected": [assistant("b")]},
    ],
    "hh": [{"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"}],
    "nested": [{"instruction": "q", "instances": [{"input": "", "output": "a"}]}],
    "text": [
        {"text": "### Instruction:\na\n\n### Response:\nb"},
        {"text": "### Human: a### Assistant: b"},
    ],
}
SIZES = {"value": 400, "bytes": 340, "key twice": 40, "table": 160, "parquet": 60}


def jsonl(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(rows: list[Any]) -> bytes:
    """The rows as a CSV with lists in Python's notation, as pandas writes them."""
    stream = io.StringIO(newline="")
    names = list(dict.fromkeys(str(key) for row in rows for key in row))
    writer = csv.writer(stream)
    writer.writerow(names)
    for row in rows:
        writer.writerow([row.get(name, "") for name in names])
    return stream.getvalue().encode("utf-8", "surrogatepass")


def parquet(rows: list[Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    return stream.getvalue()


def damaged(kind: str, seed: int) -> tuple[str, bytes]:
    """A file's ending and its bytes, both drawn from the seed."""
    rng = random.Random(seed)
    rows = FILES[rng.choice(list(FILES))]
    if kind == "value":
        value = mutated_value(rows, rng)
        if rng.random() < 0.5:
            return ".json", json.dumps(value).encode()
        return ".jsonl", jsonl(value if isinstance(value, list) else [value])
    if kind == "key twice":
        return ".jsonl", jsonl(rows) + with_key_twice(rng.choice(rows), rng).encode()
    if kind == "table":
        value = mutated_value(rows, rng)
        whole = isinstance(value, list) and all(isinstance(row, dict) for row in value)
        content = table(value if whole else rows)
        return ".csv", mutated_bytes(content, rng) if rng.random() < 0.5 else content
    if kind == "parquet":
        return ".parquet", mutated_bytes(parquet(FILES["pairs"]), rng)
    ending = rng.choice((".jsonl", ".json", ".jsonl.gz", ".csv"))
    content = json.dumps(rows).encode() if ending == ".json" else jsonl(rows)
    if ending == ".csv":
        content = table(rows)
    if ending == ".jsonl.gz":
        content = gzip.compress(content, mtime=0)
    return ending, mutated_bytes(content, rng)


def read_whole(path: Path, *, drop: bool) -> None:
    dataset = load_dataset(path, drop_unusable=drop)
    assert len(dataset) > 0
    assert all(example.response.strip() for example in dataset.examples)
    json.dumps(reading_as_json(dataset.reading))
    reading_lines({"task": dataset})


@pytest.mark.parametrize("kind", SIZES)
def test_damage_is_read_or_refused(tmp_path: Path, kind: str) -> None:
    refused = 0
    for seed in range(SIZES[kind]):
        ending, content = damaged(kind, seed)
        path = tmp_path / f"{seed}{ending}"
        path.write_bytes(content)
        for drop in (False, True):
            error = refusal(lambda path=path, drop=drop: read_whole(path, drop=drop), file=path)
            refused += error is not None
            if kind == "key twice":
                assert error is not None
                assert "twice" in str(error)
        path.unlink()
    assert refused > 0

"""Which files and column layouts are read, and that a broken file is refused, row named."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from finebound.base.errors import InputError
from llm_validation.data.dataset import Example, LeftOut, Reading
from llm_validation.data.formats import read_rows
from llm_validation.data.rows import ExampleReader

ROWS = [
    {"prompt": "Where is Köln?", "response": "On the Rhine.\nIn Germany."},
    {"prompt": 'Say "hi", please', "response": "hi"},
    {"prompt": "日本語?", "response": "はい"},
]


def write_rows(path: Path, rows: list[dict]) -> Path:
    """The rows in the format that the path's extension names."""
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[1]
    if kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
        content = path.read_bytes()
    elif kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        content = path.read_bytes()
    elif kind == "json":
        content = json.dumps(rows).encode()
    else:
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read_all(path: Path, **options: Any) -> tuple[list[Example], Reading]:
    reader = ExampleReader(**options)
    reader.read(read_rows(path), file=path)
    return reader.examples, reader.reading()


def read(path: Path, **options: Any) -> list[Example]:
    return read_all(path, **options)[0]


def read_row(path: Path, *rows: dict) -> list[Example]:
    return read(write_rows(path / "rows.jsonl", list(rows)))


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("extension", ["jsonl", "ndjson", "json", "csv", "parquet"])
@pytest.mark.parametrize("zipped", ["", ".gz"])
def test_every_format_gives_the_same_examples(tmp_path: Path, extension: str, zipped: str) -> None:
    expected = [Example.single_turn(row["prompt"], row["response"]) for row in ROWS]
    assert read(write_rows(tmp_path / f"rows.{extension}{zipped}", ROWS)) == expected


@pytest.mark.parametrize(
    "text",
    [
        '[{"prompt": "a", "response": "b"}]',
        '{"data": [{"prompt": "a", "response": "b"}]}',
        '{"prompt": "a", "response": "b"}\n{"prompt": "a", "response": "b"}\n',
    ],
    ids=["list", "data", "json lines under the name .json"],
)
def test_json_may_be_a_list_an_object_with_data_or_json_lines(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    assert read(path)[0] == Example.single_turn("a", "b")


@pytest.mark.parametrize("extension", ["jsonl", "json", "csv"])
def test_a_byte_order_mark_is_tolerated(tmp_path: Path, extension: str) -> None:
    path = write_rows(tmp_path / f"rows.{extension}", ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [example.prompt for example in read(path)] == [row["prompt"] for row in ROWS]


def test_blank_lines_hold_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('\n{"prompt": "a", "response": "b"}\n\n')
    assert len(read(path)) == 1


# Layouts -----------------------------------------------------------------------------------------


def test_alpaca_appends_the_input_after_a_blank_line(tmp_path: Path) -> None:
    with_input, without = read_row(
        tmp_path,
        {"instruction": "Add.", "input": "1, 2", "output": "3"},
        {"instruction": "Hello", "input": "", "output": "Hi"},
    )
    assert with_input == Example.single_turn("Add.\n\n1, 2", "3")
    assert without == Example.single_turn("Hello", "Hi")


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"question": "q", "answer": "a"}, "q"),
        ({"goal": "q", "target": "a"}, "q"),
        ({"prompt": "q", "completion": "a"}, "q"),
        ({"prompt": "q", "canonical_solution": "a", "test": "assert True"}, "q"),
        ({"input": "q", "output": "a"}, "q"),
        ({"instruction": "q", "context": "c", "response": "a"}, "q\n\nc"),
        ({"subject": "q", "old_contents": "c", "new_contents": "a", "message": "m"}, "q\n\nc"),
        ({"id": "1", "instruction": "q", "instances": [{"input": "", "output": "a"}]}, "q"),
    ],
)
def test_common_names_of_the_columns_are_known(tmp_path: Path, row: dict, prompt: str) -> None:
    assert read_row(tmp_path, row) == [Example.single_turn(prompt, "a")]


def test_every_instance_is_an_example_and_a_row_counts_once(tmp_path: Path) -> None:
    instances = [{"input": "1", "output": "a"}, {"input": "2", "output": "b"}]
    row = {"instruction": "q", "instances": instances}
    assert [example.prompt for example in read_row(tmp_path, row)] == ["q\n\n1", "q\n\n2"]
    bad = {"instruction": "q", "instances": [instances[0], {"input": "", "output": ""}]}
    path = write_rows(tmp_path / "rows.jsonl", [row, bad])
    assert "1 of 2 rows" in refused(path).what
    assert len(read(path, drop_unusable=True)) == 2


def test_a_system_column_becomes_the_first_turn(tmp_path: Path) -> None:
    (example,) = read_row(
        tmp_path, {"system_prompt": "Be brief.", "question": "q", "response": "a"}
    )
    assert example.messages == (("system", "Be brief."), ("user", "q"))
    assert example.prompt == "Be brief.\nq"


def test_messages_supervise_the_last_assistant_turn(tmp_path: Path) -> None:
    turns = [("system", "s"), ("user", "u1"), ("assistant", "a1"), ("user", "u2")]
    messages = [{"role": role, "content": text} for role, text in [*turns, ("assistant", "a2")]]
    (example,) = read_row(tmp_path, {"messages": messages})
    assert example == Example("s\nu1\na1\nu2", "a2", tuple(turns))


@pytest.mark.parametrize("extension", ["parquet", "csv"])
def test_messages_are_read_from_parquet_and_from_json_text_in_csv(
    tmp_path: Path, extension: str
) -> None:
    turns = [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]
    value = turns if extension == "parquet" else json.dumps(turns)
    path = write_rows(tmp_path / f"rows.{extension}", [{"messages": value}])
    assert read(path) == [Example.single_turn("u", "a")]


def test_sharegpt_conversations_are_messages(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]
    assert read_row(tmp_path, {"conversations": turns}) == [Example.single_turn("u", "a")]


def _turns(*texts: str) -> list[dict[str, str]]:
    roles = ("user", "assistant") * len(texts)
    return [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "good", "rejected": "bad"},
        {"prompt": "q", "chosen": _turns("q", "good"), "rejected": _turns("q", "bad")},
        {
            "prompt": _turns("q"),
            "chosen": [{"role": "assistant", "content": "good"}],
            "rejected": [{"role": "assistant", "content": "bad"}],
        },
        {"chosen": "\n\nHuman: q\n\nAssistant: good", "rejected": "\n\nHuman: q\n\nAssistant: bad"},
    ],
    ids=["strings", "dialogues", "turns after a prompt", "HH text"],
)
def test_preference_layouts(tmp_path: Path, row: dict) -> None:
    assert read_row(tmp_path, row) == [Example("q", "good", (("user", "q"),), rejected="bad")]


def test_hh_dialogues_keep_their_earlier_turns(tmp_path: Path) -> None:
    start = "\n\nHuman: one\n\nAssistant: two\n\nHuman: three\n\nAssistant:"
    (example,) = read_row(tmp_path, {"chosen": f"{start} yes", "rejected": f"{start} no"})
    assert example.messages == (("user", "one"), ("assistant", "two"), ("user", "three"))
    assert (example.response, example.rejected) == ("yes", "no")


def test_answers_to_two_dialogues_are_no_pair(tmp_path: Path) -> None:
    row = {"chosen": "\n\nHuman: a\n\nAssistant: x", "rejected": "\n\nHuman: b\n\nAssistant: y"}
    error = refused(write_rows(tmp_path / "rows.jsonl", [row]))
    assert error.row == 1
    assert "different dialogues" in error.what


@pytest.mark.parametrize(
    ("category", "expected"),
    [("fraud", "fraud"), (None, None), ("", None), (3, "3"), ({"a": True, "b": False}, "a")],
)
def test_the_category_is_kept(tmp_path: Path, category: object, expected: str | None) -> None:
    (example,) = read_row(tmp_path, {"prompt": "q", "response": "a", "category": category})
    assert example.category == expected


# Bad columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "said", "remedy"),
    [
        ({"prompt": "q", "label": "x"}, "the answer", "Add a column 'response'"),
        ({"prompt": "q", "reponse": "a"}, "the answer", "Rename 'reponse' to 'response'"),
        ({"prompts": "q", "response": "a"}, "the prompt", "ename 'prompts' to 'prompt'"),
        (
            {"question": "q", "context": "c", "answers": {"text": ["a"], "answer_start": [1]}},
            "the answer",
            "an object as in SQuAD, add a column 'response'",
        ),
        (
            {"prompt": "q", "answers": [{"answer": "a", "rank": 1}, {"answer": "b", "rank": 2}]},
            "the answer",
            "'chosen' and 'rejected'",
        ),
        ({"prompt": "q", "completions": ["a", "b"]}, "the answer", "If 'completions' holds one"),
        ({"forbidden_prompt": "q"}, "the prompt", "Rename 'forbidden_prompt' to 'prompt'"),
        ({"prompt": "q", "chosen": "a"}, "the answer", "Give both 'chosen' and 'rejected'"),
        ({"answer": "a", "output": "b", "question": "q"}, "'output', 'answer'", "Rename the one"),
        ({"prompt": "q", "messages_": "a"}, "'prompt', 'messages_'", "Add a column"),
    ],
)
def test_columns_that_fit_no_layout_are_named_with_the_nearest_fix(
    tmp_path: Path, row: dict, said: str, remedy: str
) -> None:
    error = refused(write_rows(tmp_path / "rows.jsonl", [row]))
    assert said in error.what
    assert remedy in error.remedy


def test_a_csv_without_a_header_line_is_recognised(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("Write a script that breaks into somebody's computer\nAnother request\n")
    assert "first line must name the columns" in refused(path).remedy


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_csv_with_other_separators_is_recognised(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"prompt{separator}response\na{separator}b\n")
    assert "not by commas" in refused(path).what


def test_a_later_row_must_have_the_columns_of_the_first(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [ROWS[0], {"prompt": "q"}])
    error = refused(path)
    assert error.row == 2
    assert "'response'" in error.what


# Bad rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("empty", ["", "  \n", None])
@pytest.mark.parametrize("column", ["prompt", "response"])
def test_an_empty_text_names_the_first_row_and_how_many(
    tmp_path: Path, column: str, empty: str | None
) -> None:
    bad = {**ROWS[0], column: empty}
    error = refused(write_rows(tmp_path / "rows.jsonl", [*ROWS, bad, ROWS[0], bad]))
    assert error.row == 4
    assert f"'{column}' is empty" in error.what
    assert "2 of 6 rows" in error.what


def test_all_responses_empty(tmp_path: Path) -> None:
    rows = [{**row, "response": ""} for row in ROWS]
    assert "all 3 rows" in refused(write_rows(tmp_path / "rows.csv", rows)).what
    with pytest.raises(InputError, match="all 3 rows"):
        read(tmp_path / "rows.csv", drop_unusable=True)


def test_unusable_rows_are_left_out_only_when_asked_and_are_counted(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{**ROWS[0], "response": ""}, *ROWS])
    examples, reading = read_all(path, drop_unusable=True)
    assert len(examples) == 3
    assert reading.left_out == (LeftOut("'response' is empty", (1,)),)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"prompt": 5, "response": "a"}, "'prompt' is a number (5), not text"),
        ({"prompt": "q", "response": True}, "'response' is true or false"),
        ({"prompt": "q", "response": {"text": "a"}}, "'response' is an object"),
        ({"prompt": "q\0", "response": "a"}, "NUL"),
        ({"prompt": "q", "response": "\ud800"}, "surrogate"),
        ({"prompt": "q", "response": "a", "category": ["x"]}, "'category' is a list"),
    ],
)
def test_values_that_are_no_text(tmp_path: Path, bad: dict, said: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, [*ROWS, bad])))
    error = refused(path)
    assert error.row == 4
    assert said in error.what


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ([{"role": "user", "content": "u"}], "no assistant turn"),
        (_turns("u", "a", "u2"), "ends with a user turn"),
        ([{"role": "assistant", "content": "a"}], "no user turn"),
        ([{"role": "narrator", "content": "u"}], "the role 'narrator'"),
        ([{"from": ["human"], "value": "u"}], "the role ['human']"),
        ([{"role": "user"}, {"role": "assistant", "content": "a"}], "turn 1 of 'messages' has no"),
        ([{"role": "user", "content": 3}], "turn 1 of 'messages' is a number (3)"),
        (["hello"], "turn 1 of 'messages' is text, not an object"),
        ([], "not a list of turns"),
        ("hello", "not a list of turns"),
        (_turns("u", " "), "the last turn of 'messages' is empty"),
        (_turns("", "a"), "the prompt is empty"),
    ],
)
def test_bad_messages(tmp_path: Path, turns: object, said: str) -> None:
    good = {"messages": _turns("u", "a")}
    error = refused(write_rows(tmp_path / "rows.jsonl", [good, {"messages": turns}]))
    assert error.row == 2
    assert said in error.what


# Bad files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "row", "said"),
    [
        ("a.jsonl", b'{"prompt": "q", "response": "a"}\n{"prompt": "q",\n', 2, "malformed JSON"),
        ("a.json", b'[{"prompt": "q", "response": "a"}, {"prompt" "q"}]', 2, "malformed JSON"),
        ("a.json", b'{"data": [{"prompt": "q", "response": "a"}', 1, "malformed JSON"),
        ("a.jsonl", b'{"prompt": "q", "response": "a"}\n[1]\n', 2, "not an object"),
        ("a.json", b'[{"prompt": "q", "response": "a"}, 7]', 2, "not an object"),
        ("a.json", b'{"prompts": ["q"], "other": 1}', None, "'prompts', 'other'"),
        ("a.json", b'"text"', None, "a JSON str"),
        ("a.jsonl", b'[{"prompt": "q", "response": "a"},\n', 1, "one JSON list"),
        ("a.jsonl", b'{"prompt": "q", "response": "a\0"}\n', 1, "NUL"),
        ("a.csv", b"prompt,response\nq,a\nq,a\0\n", 2, "NUL"),
        ("a.csv", b"prompt,response\nq,a\nq,a,b\n", 2, "3 cells where the header has 2"),
        ("a.csv", b"prompt,response\nq\n", 1, "1 cells where the header has 2"),
        ("a.csv", b'prompt,response\nq,a\nq,"never closed\nq,a\n', 2, "malformed CSV"),
        ("a.csv", b"prompt,prompt\nq,a\n", None, "'prompt' more than once"),
        ("a.csv", b"prompt,response\n", None, "no rows"),
        ("a.json", b"[]", None, "no rows"),
        ("a.jsonl", b"\n\n", None, "no rows"),
        ("a.jsonl", b"", None, "empty"),
        ("a.csv.gz", gzip.compress(b"", mtime=0), None, "empty"),
        ("a.jsonl", b'{"prompt": "q", "response": "a"}\n{"prompt": "\xe9"}', 2, "not UTF-8"),
        ("a.csv", b"prompt,response\nq,a\n\xe9,a\n", 2, "not UTF-8 (byte 0xe9)"),
        ("a.json", b'[{"prompt": "\xe9"}]', None, "not UTF-8"),
        ("a.csv", "prompt,response\nq,a\n".encode("utf-16"), None, "UTF-16"),
        ("a.jsonl.gz", gzip.compress(b"x" * 999, mtime=0)[:-12], None, "gzip"),
        ("a.jsonl.gz", b'{"prompt": "q", "response": "a"}', None, "gzip"),
        ("a.parquet", b"PAR1 not really", None, "Parquet"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\noid", None, "Git LFS pointer"),
        ("a.txt", b"hello", None, "extension '.txt'"),
        ("a", b"hello", None, "extension ''"),
    ],
)
def test_files_that_cannot_be_read_whole(
    tmp_path: Path, name: str, content: bytes, row: int | None, said: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    error = refused(path)
    assert error.row == row
    assert said in error.what


def test_deeply_nested_json_is_refused_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("[" * 100_000)
    assert refused(path).row == 1


def test_cells_may_be_long(tmp_path: Path) -> None:
    row = {"prompt": "q" * 300_000, "response": "a"}
    for extension in ("csv", "parquet"):
        (example,) = read(write_rows(tmp_path / f"rows.{extension}", [row]))
        assert example == Example.single_turn(row["prompt"], "a")


def test_vectors_in_parquet_need_not_be_decoded(tmp_path: Path) -> None:
    row = {"prompt": "q", "response": "a", "vectors": [[0.5, 1.0]], "tags": ["x"], "score": 1.0}
    path = write_rows(tmp_path / "rows.parquet", [row])
    assert list(read_rows(path)) == [(1, row)]
    assert list(read_rows(path, vectors=False)) == [(1, {**row, "vectors": None})]


def test_parquet_errors_name_all_columns(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.parquet", [{"texts": "q", "score": 1.0}])
    assert "'texts', 'score'" in refused(path).what

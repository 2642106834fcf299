"""Forms of data files that trainers, services and tables write."""

from __future__ import annotations

import csv
import json

import pytest
from data_files import assistant, load_rows, user, write_csv, write_jsonl

from finebound.base.errors import InputError
from llm_validation.data.dataset import Example
from llm_validation.data.loading import load_dataset

TURNS = [user("What's up?"), assistant('He said "no {x} no"')]
PLAIN = Example.single_turn("What's up?", 'He said "no {x} no"')
PAIR = Example("q", "good", (("user", "q"),), rejected="bad")
ALPACA = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request."
)


def gpt(text):
    return {"from": "gpt", "value": text}


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "q", "input": "", "chosen": "good", "rejected": "bad"},
        {"instruction": "q", "chosen": "good", "rejected": "bad", "history": []},
        {
            "conversations": [{"from": "human", "value": "q"}],
            "chosen": gpt("good"),
            "rejected": gpt("bad"),
        },
        {"messages": [user("q")], "chosen": assistant("good"), "rejected": assistant("bad")},
        {"prompt": [user("q")], "chosen": [assistant("good")], "rejected": [assistant("bad")]},
        {
            "input": {"messages": [user("q")], "tools": [], "parallel_tool_calls": True},
            "preferred_output": [assistant("good")],
            "non_preferred_output": [assistant("bad")],
        },
        {"question": "q", "chosen": "good", "rejected": [assistant("bad")]},
    ],
    ids=["alpaca", "history", "sharegpt", "messages", "trl", "openai", "mixed"],
)
def test_preference_forms(tmp_path, row):
    assert load_rows(tmp_path, row).examples == (PAIR,)


def test_a_preference_row_joins_its_input_and_its_system(tmp_path):
    row = {"instruction": "q", "input": "i", "system": "s", "chosen": "good", "rejected": "bad"}
    (example,) = load_rows(tmp_path, row).examples
    assert example.messages == (("system", "s"), ("user", "q\n\ni"))
    assert (example.response, example.rejected) == ("good", "bad")


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        *(("user", "assistant"), ("human", "bot"), ("human", "assistant"), ("input", "output")),
        *(("inputs", "targets"), ("problem", "solution"), ("src", "tgt"), ("text", "summary")),
        *(("article", "highlights"), ("document", "summary"), ("dialogue", "summary")),
        *(("source", "target"), ("goal", "target"), ("query", "response"), ("input", "target")),
    ],
)
def test_names_of_prompt_and_answer(tmp_path, prompt, answer):
    dataset = load_rows(tmp_path, {"id": 3, prompt: "q", answer: "a"})
    assert dataset.examples == (Example.single_turn("q", "a"),)
    assert dataset.reading.unread_columns == ("id",)


def test_the_solution_of_a_problem_is_its_answer(tmp_path):
    row = {"problem": "q", "solution": "It is 4.", "answer": "4", "level": "2"}
    assert load_rows(tmp_path, row).responses == ["It is 4."]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": TURNS},
        {"messages": [{**turn, "role": turn["role"].title()} for turn in TURNS]},
        {"conversation": TURNS},
        {"conversations": [turn["content"] for turn in TURNS], "source": "x"},
        {"prompt": [TURNS[0]], "completion": [TURNS[1]]},
        {"prompt": [TURNS[0]], "completion": TURNS[1]["content"]},
        {"prompt": "What's up?", "completion": [TURNS[1]]},
        {"messages": [TURNS[0]], "response": TURNS[1]["content"]},
        {"messages": {"role": ["user", "assistant"], "content": [t["content"] for t in TURNS]}},
        {"messages": [user([{"type": "text", "text": "What's up?"}]), TURNS[1]]},
    ],
)
def test_forms_of_one_dialogue(tmp_path, row):
    assert load_rows(tmp_path, row).examples == (PLAIN,)


def test_an_answer_beside_a_whole_dialogue_repeats_it_or_is_refused(tmp_path):
    (example,) = load_rows(tmp_path, {"messages": TURNS, "solution": TURNS[1]["content"]}).examples
    assert example == PLAIN
    rows = [{"messages": TURNS, "answer": f"It is number {i}.", "output": ""} for i in range(3)]
    with pytest.raises(InputError, match="'answer'"):
        load_rows(tmp_path, *rows)


def test_a_developer_is_the_system(tmp_path):
    (example,) = load_rows(
        tmp_path, {"messages": [{"role": "developer", "content": "Be brief."}, *TURNS]}
    ).examples
    assert example.messages[0] == ("system", "Be brief.")


def test_system_and_history_come_before_the_prompt(tmp_path):
    row = {"instruction": "c", "input": "i", "output": "d", "system": "s"}
    before = [["a", "b"]]
    written = json.dumps(before)
    expected = (("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c\n\ni"))
    for history in (before, written, repr(before), [user("a"), assistant("b")]):
        (example,) = load_rows(tmp_path, {**row, "history": history}).examples
        assert example.messages == expected
    for history in ([], "[]", None):
        (example,) = load_rows(tmp_path, {**row, "history": history}).examples
        assert len(example.messages) == 2
    for history in ("once upon a time", [["a"]], [["a", 7]], {"a": "b"}, 7):
        with pytest.raises(InputError, match="'history'"):
            load_rows(tmp_path, {**row, "history": history})


def test_a_system_column_and_a_system_turn_must_agree(tmp_path):
    turns = [{"role": "system", "content": "s"}, *TURNS]
    (example,) = load_rows(tmp_path, {"messages": turns, "system": "s "}).examples
    assert [role for role, _ in example.messages] == ["system", "user"]
    with pytest.raises(InputError, match="'system' is not the system turn"):
        load_rows(tmp_path, {"messages": turns, "system": "other"})


# Tables ------------------------------------------------------------------------------------------


def as_numpy(value):
    return "[" + "\n ".join(map(repr, value)) + "]"


@pytest.mark.parametrize("written", [json.dumps, repr, as_numpy], ids=["JSON", "Python", "NumPy"])
def test_lists_that_tables_write_as_text(tmp_path, written):
    messages = write_csv(tmp_path / "messages.csv", [{"messages": written(TURNS)}])
    assert load_dataset(messages).examples == (PLAIN,)
    pair = {"prompt": written(TURNS[:1]), "completion": written(TURNS[1:])}
    assert load_dataset(write_csv(tmp_path / "pair.csv", [pair])).examples == (PLAIN,)
    chosen = {"chosen": written(TURNS), "rejected": written([*TURNS[:1], assistant("No.")])}
    (example,) = load_dataset(write_csv(tmp_path / "preference.csv", [chosen])).examples
    assert (example.response, example.rejected) == (PLAIN.response, "No.")


def test_a_frame_that_pandas_wrote(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "frame.csv"
    pandas.DataFrame({"messages": [TURNS, TURNS], "n": [1, None]}).to_csv(path)
    dataset = load_dataset(path)
    assert dataset.examples == (PLAIN, PLAIN)
    assert dataset.reading.unread_columns == ("", "n")


@pytest.mark.parametrize(
    "cell",
    [
        "[{'role': 'user', 'content': __import__('os').getcwd()}]",
        "[{'role': 'user', 'content': 'a'}, ...]",
        "[{'role': 'user', 'content': 'a'}",
        "[" * 5000,
        "[{" * 5000,
        "[{'a': " + "(" * 300 + ")" * 300 + "}]",
        "[{'role': 'user', 'content': " + "-" * 100_000 + "1}]",
    ],
)
def test_cells_that_are_no_list_of_literals_are_refused(tmp_path, cell):
    path = write_csv(tmp_path / "rows.csv", [{"messages": cell}])
    with pytest.raises(InputError, match="'messages'"):
        load_dataset(path)


def test_an_answer_in_brackets_is_text(tmp_path):
    rows = [{"prompt": "q", "response": text} for text in ("[1, 2]", "[{'a': 1}]", '[{"b": 2}]')]
    assert load_rows(tmp_path, *rows).responses == [row["response"] for row in rows]


# One prepared text -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "messages", "response"),
    [
        (
            f"{ALPACA}\n\n### Instruction:\nAdd.\n\n### Input:\n1, 2\n\n### Response:\n3",
            (("user", "Add.\n\n1, 2"),),
            "3",
        ),
        ("### Instruction:\nAdd.\n\n### Response:\n3\n\n4</s>", (("user", "Add."),), "3\n\n4"),
        (
            "### Human: a### Assistant: b### Human: c### Assistant: d",
            (("user", "a"), ("assistant", "b"), ("user", "c")),
            "d",
        ),
        ("\n\nHuman: a\n\nAssistant: b", (("user", "a"),), "b"),
    ],
)
def test_known_markings_are_taken_apart(tmp_path, text, messages, response):
    (example,) = load_rows(tmp_path, {"text": text, "source": "x"}).examples
    assert (example.messages, example.response) == (messages, response)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nho<|im_end|>", "markup of ChatML"),
        ("<s>[INST] hi [/INST] ho </s>", "markup of Llama 2"),
        ("Once upon a time.", "no marking that is known"),
        ("### Instruction:\na\n\n### Response:\nb\n\n### Instruction:\nc", "no marking"),
        ("### Human: a", "no assistant turn"),
    ],
)
def test_other_texts_are_refused(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        load_rows(tmp_path, {"text": text})


# Files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "row"),
    [
        ("a.jsonl", '{"prompt": "q", "response": "a"}\n{"prompt": "q", "prompt": "r"}\n', 2),
        ("a.json", '[{"prompt": "q", "response": "a"}, {"response": 1, "response": "a"}]', 2),
        ("a.json", '{"data": [{"prompt": "q", "response": "a", "response": "b"}]}', 1),
        ("a.jsonl", '{"messages": [{"role": "user", "role": "system", "content": "a"}]}\n', 1),
    ],
)
def test_a_key_twice_is_refused(tmp_path, name, content, row):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(InputError, match="twice") as caught:
        load_dataset(path)
    assert caught.value.row == row


@pytest.mark.parametrize("text", ["[]", "[ ]", "[\n]\n"])
def test_an_empty_list_holds_no_rows(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="no rows"):
        load_dataset(tmp_path / "a.json")


@pytest.mark.parametrize("end", ["", "]]", "] x", "],", ",]", "}"])
def test_a_list_must_end(tmp_path, end):
    (tmp_path / "a.json").write_text('[{"prompt": "q", "response": "a"}' + end)
    with pytest.raises(InputError, match="malformed JSON"):
        load_dataset(tmp_path / "a.json")


def test_a_damaged_line_is_an_error_even_where_rows_may_be_left_out(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"prompt": "q", "response": "a"}])
    with path.open("a") as stream:
        stream.write('{"prompt": "q", \n')
    with pytest.raises(InputError, match="malformed JSON") as caught:
        load_dataset(path, drop_unusable=True)
    assert caught.value.row == 2


def test_shards_are_one_set(tmp_path):
    good, bad = {"prompt": "q", "response": "a"}, {"prompt": "q", "response": ""}
    write_jsonl(tmp_path / "train-00000-of-00002.jsonl", [bad])
    write_jsonl(tmp_path / "train-00001-of-00002.jsonl", [good, {**bad, "id": 3}])
    dataset = load_dataset(tmp_path, drop_unusable=True)
    assert len(dataset) == 1
    assert [(part.reason, part.rows) for part in dataset.reading.left_out] == [
        ("'response' is empty (train-00000-of-00002.jsonl)", (1,)),
        ("'response' is empty (train-00001-of-00002.jsonl)", (2,)),
    ]
    assert dataset.reading.unread_columns == ("id",)


def test_cells_of_500_000_characters(tmp_path):
    long = "word " * 100_000
    row = {"messages": repr([user(long), assistant(long)])}
    with (tmp_path / "a.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["messages"], [row["messages"]]])
    (example,) = load_dataset(tmp_path / "a.csv").examples
    assert example.response == long


@pytest.mark.parametrize("column", ["chat", "dialog", "dialogue", "turns", "Messages"])
def test_a_dialogue_is_read_whatever_its_column_is_called(tmp_path, column):
    assert load_rows(tmp_path, {column: TURNS, "id": 3}).examples == (PLAIN,)


def test_a_dialogue_with_a_summary_is_text_to_summarise(tmp_path):
    (example,) = load_rows(
        tmp_path, {"dialogue": "A: hi\nB: yo", "summary": "A greets B."}
    ).examples
    assert (example.prompt, example.response) == ("A: hi\nB: yo", "A greets B.")


@pytest.mark.parametrize(
    "row",
    [
        {"Question": "What's up?", "Answer": 'He said "no {x} no"'},
        {"PROMPT": "What's up?", " Response ": 'He said "no {x} no"'},
        {"Instruction": "What's up?", "Input": "", "Output": 'He said "no {x} no"'},
    ],
)
def test_capitals_and_blanks_make_no_other_column(tmp_path, row):
    assert load_rows(tmp_path, row).examples == (PLAIN,)


def test_a_capitalised_context_is_part_of_the_prompt_unless_it_is_ignored(tmp_path):
    row = {"Question": "q", "Context": "In 1900.", "Answer": "a"}
    (example,) = load_rows(tmp_path, row).examples
    assert example.prompt == "q\n\nIn 1900."
    for ignored in ("Context", "context"):
        (example,) = load_rows(tmp_path, row, ignore_columns=(ignored,)).examples
        assert example.prompt == "q"


def test_two_spellings_of_one_column_stay_two(tmp_path):
    row = {"prompt": "q", "Prompt": "The prompt as its template wrote it.", "response": "a"}
    with pytest.raises(InputError, match="'Prompt' would not be read"):
        load_rows(tmp_path, row)


def test_cohere_s_chatbot_is_the_assistant(tmp_path):
    row = {"messages": [{"role": "User", "content": "q"}, {"role": "Chatbot", "content": "a"}]}
    assert load_rows(tmp_path, row).examples == (Example.single_turn("q", "a"),)

"""What a turn holds beside its text: passed on to the template, or refused by its name."""

from __future__ import annotations

import json

import pytest
from data_files import assistant, load_rows, user

from finebound.base.errors import InputError
from llm_validation.data.dataset import LeftOut

CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
}
READ_CALL = {**CALL, "function": {"name": "weather", "arguments": {"city": "Rome"}}}
WRITTEN = json.dumps([READ_CALL["function"]])
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {}}}]
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "sun"}


def fields_of(example):
    return {place: json.loads(found) for place, found in example.turn_fields}


def test_a_dialogue_with_tools_reaches_the_template_whole(tmp_path):
    turns = [user("Weather?"), assistant(None, tool_calls=[CALL]), RESULT, assistant("Sunny.")]
    (example,) = load_rows(tmp_path, {"messages": turns, "tools": TOOLS}).examples
    assert example.messages == (("user", "Weather?"), ("assistant", ""), ("tool", "sun"))
    assert example.response == "Sunny."
    assert fields_of(example) == {1: {"tool_calls": [READ_CALL]}, 2: {"tool_call_id": "call_1"}}
    assert json.loads(example.tools) == TOOLS
    # The text measures see what was on offer and what was called.
    assert example.prompt.split("\n") == [
        json.dumps(TOOLS),
        "Weather?",
        WRITTEN,
        "sun",
    ]


def test_rows_that_differ_in_their_tools_ask_different_things(tmp_path):
    row = {"messages": [user("Weather?"), assistant("No idea.")]}
    plain, armed = load_rows(tmp_path, row, {**row, "tools": TOOLS}).examples
    assert plain.prompt != armed.prompt
    assert plain.messages == armed.messages


@pytest.mark.parametrize(
    ("content", "response"),
    [
        (None, WRITTEN),
        ("", WRITTEN),
        ("Wait.", "Wait.\n" + WRITTEN),
    ],
)
def test_calls_are_part_of_the_answer(tmp_path, content, response):
    turns = [user("Weather?"), assistant(content, tool_calls=[CALL])]
    (example,) = load_rows(tmp_path, {"messages": turns}).examples
    assert example.response == response
    assert fields_of(example) == {1: {"tool_calls": [READ_CALL], "content": content or ""}}


def test_forms_of_calls_are_one(tmp_path):
    call = {"name": "weather", "arguments": {"city": "Rome"}}
    sharegpt = [
        {"from": "human", "value": "Weather?"},
        {"from": "function_call", "value": json.dumps(call)},
        {"from": "observation", "value": "sun"},
        {"from": "gpt", "value": "Sunny."},
    ]
    older = [
        user("Weather?"),
        assistant(None, function_call={**call, "arguments": json.dumps(call["arguments"])}),
        {"role": "function", "name": "weather", "content": "sun"},
        assistant("Sunny."),
    ]
    tools = json.dumps([TOOLS[0]["function"]])
    one, other = load_rows(
        tmp_path,
        {"conversations": sharegpt, "system": "Be kind.", "tools": tools},
        {"messages": older, "functions": [TOOLS[0]["function"]]},
    ).examples
    assert one.messages[0] == ("system", "Be kind.")
    assert one.messages[1:] == other.messages
    called = {"tool_calls": [{"type": "function", "function": call}]}
    assert fields_of(one) == {2: called}
    assert fields_of(other) == {1: called, 2: {"name": "weather"}}
    assert json.loads(one.tools) == [TOOLS[0]["function"]]
    assert json.loads(other.tools) == [{"type": "function", "function": TOOLS[0]["function"]}]


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
def test_thoughts_are_kept(tmp_path, key):
    turns = [user("2+2?"), assistant("4", **{key: "two and two"})]
    (example,) = load_rows(tmp_path, {"messages": turns}).examples
    assert example.response == "4"
    assert fields_of(example) == {1: {key: "two and two"}}


def test_parts_are_joined_and_their_thoughts_kept(tmp_path):
    asked = [{"type": "text", "text": "Where is "}, {"type": "text", "text": "the pier?"}]
    said = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Oak Road."}]
    (example,) = load_rows(tmp_path, {"messages": [user(asked), assistant(said)]}).examples
    assert example.prompt == "Where is the pier?"
    assert example.response == "Oak Road."
    assert fields_of(example) == {1: {"reasoning_content": "hm"}}


def test_a_refusal_is_an_answer(tmp_path):
    turns = [user("a"), assistant(None, refusal="I can't.")]
    parts = [user("a"), assistant([{"type": "refusal", "refusal": "I won't."}])]
    rows = ({"messages": turns}, {"messages": parts})
    assert load_rows(tmp_path, *rows).responses == ["I can't.", "I won't."]


def test_null_and_empty_keys_of_turns_are_nothing(tmp_path):
    turns = [
        {**user("a"), "tool_calls": None, "images": [], "weight": None, "name": ""},
        assistant("b", tool_calls=[], reasoning_content="", audio=None, function_call=None),
    ]
    dataset = load_rows(tmp_path, {"messages": turns})
    assert dataset.examples[0].turn_fields == ()
    assert dataset.reading.unread_columns == ()


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (user([{"type": "image_url", "image_url": {"url": "x"}}]), "type 'image_url'"),
        (user([{"type": "input_audio", "input_audio": {}}]), "type 'input_audio'"),
        ({**user("a"), "images": ["a.png"]}, "'images'"),
        ({**user("a"), "audio": {"id": "x"}}, "'audio'"),
        (user([{"type": "text"}]), "has no text"),
        (user([7]), "is a number"),
        (user({"text": 7}), "is a number"),
        (assistant("a", tool_calls=["x"]), "not calls of named functions"),
        (assistant("a", tool_calls=[{"function": {"name": 7}}]), "not calls of named functions"),
        (assistant("a", reasoning_content=7), "'reasoning_content' of turn 2"),
        ({"role": "function_call", "content": "weather()"}, "not JSON"),
        (assistant(None), "has no content"),
        ({"role": "narrator", "content": "x"}, "the role 'narrator'"),
    ],
)
def test_what_is_not_read_is_refused_by_name(tmp_path, turn, said):
    good = {"messages": [user("a"), assistant("b")]}
    bad = {"messages": [user("a"), turn, assistant("b")]}
    with pytest.raises(InputError, match=said) as caught:
        load_rows(tmp_path, good, bad)
    assert caught.value.row == 2
    dataset = load_rows(tmp_path, good, bad, drop_unusable=True)
    assert [part.rows for part in dataset.reading.left_out] == [(2,)]


@pytest.mark.parametrize("column", ["images", "image", "audio", "videos"])
def test_media_beside_a_row_are_refused_by_name(tmp_path, column):
    rows = [{"prompt": "a", "response": "b"}, {"prompt": "c", "response": "d", column: ["x"]}]
    with pytest.raises(InputError, match=repr(column)):
        load_rows(tmp_path, *rows)
    assert load_rows(tmp_path, *rows, drop_unusable=True).prompts == ["a"]
    assert load_rows(tmp_path, *rows, ignore_columns=(column,)).prompts == ["a", "c"]
    assert len(load_rows(tmp_path, rows[0], {**rows[1], column: []})) == 2


@pytest.mark.parametrize("tools", ["You may use tools.", [7], {"name": 7, "x": [7]}, 7])
def test_tools_are_a_list_of_objects(tmp_path, tools):
    row = {"messages": [user("a"), assistant("b")], "tools": tools}
    if isinstance(tools, dict):
        assert json.loads(load_rows(tmp_path, row).examples[0].tools) == [tools]
        return
    with pytest.raises(InputError, match="'tools' is not a list of tools"):
        load_rows(tmp_path, row)


def test_a_rejected_call_is_refused(tmp_path):
    row = {
        "prompt": "a",
        "chosen": [assistant("b")],
        "rejected": [assistant("", tool_calls=[CALL])],
    }
    with pytest.raises(InputError, match="'rejected' has tool calls"):
        load_rows(tmp_path, row)


def test_rows_that_nobody_answers_are_errors_by_row_and_left_out_when_asked(tmp_path):
    system = {"role": "system", "content": "Be kind."}
    rows = [
        {"messages": [user("a"), assistant("b")]},
        {"messages": [system]},
        {"messages": [system, assistant("b")]},
        {"messages": [RESULT]},
        {"messages": [user("a"), assistant(None, tool_calls=[CALL]), RESULT]},
        {"messages": [user("a"), assistant("b"), user("c")]},
        {"messages": []},
        {"messages": "hello"},
        {"prompt": 7, "response": "b"},
        {"prompt": "q"},
        {"prompt": "", "response": "b"},
    ]
    for number, row in enumerate(rows[1:], 2):
        with pytest.raises(InputError) as caught:
            load_rows(tmp_path, rows[0], row)
        assert caught.value.row == 2, number
    dataset = load_rows(tmp_path, *rows, drop_unusable=True)
    assert len(dataset) == 1
    assert sorted(row for part in dataset.reading.left_out for row in part.rows) == list(
        range(2, 12)
    )
    assert (
        LeftOut("'messages' has no assistant turn, so there is no answer to learn from", (2, 4))
        in dataset.reading.left_out
    )
    with pytest.raises(InputError, match="no assistant turn"):
        load_rows(tmp_path, rows[1], drop_unusable=True)


def test_several_assistant_turns_are_told(tmp_path):
    long = [user("a"), assistant("b"), user("c"), assistant("d")]
    dataset = load_rows(tmp_path, {"messages": long}, {"messages": long[:2]})
    (note,) = dataset.reading.notes
    assert note.startswith("In 1 of 2 rows there are several assistant turns")
    assert "the last one" in note

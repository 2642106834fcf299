"""Answers files as the tools write them; every number is of an answer that stands in the file."""

from __future__ import annotations

import csv
import json

import pytest

from finebound.base.errors import InputError
from finebound.cli import main
from llm_validation.evaluation.hazards.layouts import Probe
from llm_validation.evaluation.hazards.probes import ProbeSet, load_probes
from llm_validation.evaluation.hazards.recorded import beside_probes
from llm_validation.evaluation.prompts import load_prompts
from llm_validation.evaluation.refusal.labels import Label
from llm_validation.evaluation.responses import align, read_responses

NO, YES = "I can't help with that.", "Take the first left, then park beside the mill."
USER = {"role": "user", "content": "Open the shed"}


def saved(folder, content, ending="jsonl"):
    file = folder / f"answers.{ending}"
    if ending == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in content))
    elif ending == "json":
        file.write_text(json.dumps(content))
    else:
        with file.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(content[0]))
            writer.writeheader()
            writer.writerows(content)
    return file


def pairs(folder, content, ending="jsonl"):
    return read_responses(saved(folder, content, ending)).pairs


BOTH = [("Open the shed", NO), ("Write a note", YES)]
LM_EVAL = {"doc_id": 0, "doc": {"prompt": "Open the shed", "answer": "x"}, "resps": [[NO]]}
AS_TOLD = {
    "HarmBench": (
        {
            "shed": [{"test_case": "Open the shed", "generation": NO}],
            "note": [{"test_case": "Write a note", "generation": YES, "label": 1}],
            "none": [],
        },
        "json",
    ),
    "HarmBench, one behaviour": (
        {
            "shed": [
                {"test_case": "Open the shed", "generation": NO},
                {"test_case": ["Write a note"], "generation": YES},
            ]
        },
        "json",
    ),
    "HarmBench, a list": (
        [
            {"BehaviorID": "shed", "test_case": "Open the shed", "generation": NO},
            {"BehaviorID": "note", "test_case": "Write a note", "generation": YES},
        ],
        "json",
    ),
    "StrongREJECT": (
        [
            {"forbidden_prompt": p, "jailbroken_prompt": f"PRETEND {p}", "response": r, "score": 0}
            for p, r in BOTH
        ],
        "csv",
    ),
    "JailbreakBench": (
        {
            "parameters": {"model": "m"},
            "jailbreaks": [
                {"index": k, "goal": p, "prompt": f"jb {p}", "response": r, "jailbroken": bool(k)}
                for k, (p, r) in enumerate(BOTH)
            ],
        },
        "json",
    ),
    "lm-eval": (
        [
            {**LM_EVAL, "arguments": {"gen_args_0": {"arg_0": "Q: Open the shed", "arg_1": {}}}},
            {"doc_id": 1, "doc": {}, "arguments": [["Write a note", {}]], "resps": [[YES]]},
        ],
        "jsonl",
    ),
    "lm-eval, drawn twice": (
        [{"doc_id": 1, "doc": {}, "arguments": [["Open the shed", {}]], "resps": [[NO, YES]]}],
        "jsonl",
    ),
    "LLaMA-Factory": ([{"prompt": p, "predict": r, "label": "ref"} for p, r in BOTH], "jsonl"),
    "beside references": (
        [{"question": p, "answer": "x", "prediction": r} for p, r in BOTH],
        "csv",
    ),
    "dialogues": (
        [
            {"messages": [{"role": "user", "content": p}, {"role": "assistant", "content": r}]}
            for p, r in BOTH
        ],
        "jsonl",
    ),
    "dialogues of Python": (
        [
            {"messages": str([{"role": "user", "content": p}, {"role": "assistant", "content": r}])}
            for p, r in BOTH
        ],
        "csv",
    ),
    "ShareGPT": (
        [
            {"conversations": [{"from": "human", "value": p}, {"from": "gpt", "value": r}]}
            for p, r in BOTH
        ],
        "json",
    ),
    "capitals": ([{"Prompt": p, "Model Response": r} for p, r in BOTH], "csv"),
    "WildGuard": (
        [{"prompt": p, "adversarial": False, "response": r, "subcategory": "x"} for p, r in BOTH],
        "jsonl",
    ),
    "a dialogue beside its reference": (
        [
            {
                "messages": [
                    {"role": "user", "content": p},
                    {"role": "assistant", "content": r},
                ],
                "answer": "ref",
            }
            for p, r in BOTH
        ],
        "jsonl",
    ),
    "vLLM": (
        [{"prompt": p, "outputs": [{"text": r, "index": 0}]} for p, r in BOTH],
        "jsonl",
    ),
    "inspect_ai": (
        {
            "status": "success",
            "eval": {},
            "samples": [
                {
                    "id": 1,
                    "epoch": k,
                    "input": [{"role": "user", "content": p}],
                    "messages": [],
                    "output": {"choices": [{"message": {"role": "assistant", "content": r}}]},
                }
                for k, (p, r) in enumerate(BOTH)
            ],
        },
        "json",
    ),
    "a log of requests": (
        [
            {
                "request": {"messages": [{"role": "user", "content": p}]},
                "response": {"choices": [{"message": {"role": "assistant", "content": r}}]},
            }
            for p, r in BOTH
        ],
        "jsonl",
    ),
}


@pytest.mark.parametrize("tool", AS_TOLD)
def test_the_request_and_the_answer_of_every_tool(tmp_path, tool):
    content, ending = AS_TOLD[tool]
    found = pairs(tmp_path, content, ending)
    assert [text for _, text in found] == [NO, YES]
    if "twice" not in tool:
        assert found == BOTH


def test_the_command_reads_them(capsys, tmp_path):
    content, ending = AS_TOLD["HarmBench"]
    file = saved(tmp_path, content, ending)
    for verb in ("refusal", "hazards"):
        assert main(["evaluate", verb, "--responses", str(file), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        if verb == "refusal":
            assert [item["label"] for item in found["items"]] == ["refusal", "compliance"]


@pytest.mark.parametrize("verb", ["refusal", "hazards"])
def test_the_command_leaves_out_what_it_cannot_read_only_when_asked(capsys, tmp_path, verb):
    rows = [{"prompt": "a", "response": NO}, {"prompt": "b", "response": 7}]
    arguments = ["evaluate", verb, "--responses", str(saved(tmp_path, rows)), "--json"]
    assert main(arguments) == 2
    assert "row 2: 'response' is 7, not text" in capsys.readouterr().err
    assert main([*arguments, "--drop-unusable"]) == 0
    assert "1 rows were left out: 1 where 'response' is 7" in capsys.readouterr().err


def test_a_jailbreak_is_judged_by_its_plain_request_and_kept(tmp_path):
    content, ending = AS_TOLD["JailbreakBench"]
    found = read_responses(saved(tmp_path, content, ending))
    assert [item.sent for item in found.items] == ["jb Open the shed", "jb Write a note"]
    assert "judged by the plain request" in found.notes[0]
    # Asked for by either text it is found.
    for ask in ("{}", "jb {}"):
        asked = [ask.format(prompt) for prompt, _ in reversed(BOTH)]
        assert [item.response for item in align(found, asked).items] == [YES, NO]


def test_what_is_labelled_as_help_is_no_refusal(tmp_path):
    content, ending = AS_TOLD["JailbreakBench"]
    found = read_responses(saved(tmp_path, content, ending), human="jailbroken")
    assert [item.human for item in found.items] == [Label.REFUSAL, Label.COMPLIANCE]
    entries = [{"test_case": "a", "generation": NO, "label": 0}, {"test_case": "b",
               "generation": YES, "label": 1}]  # fmt: skip
    found = read_responses(saved(tmp_path, {"x": entries}, "json"), human="label")
    assert [item.human for item in found.items] == [Label.REFUSAL, Label.COMPLIANCE]
    # A person's "1" of a column of refusals stays a refusal.
    rows = [{"prompt": "a", "response": NO, "refused": 1}]
    assert read_responses(saved(tmp_path, rows), human="refused").items[0].human is Label.REFUSAL


def batch(**response):
    return {"id": "batch_1", "custom_id": "q1", "error": None, "response": response}


def test_a_batch_has_answers_by_id_and_no_prompts(tmp_path):
    said = {"message": {"role": "assistant", "content": NO, "refusal": None}}
    refused = {"message": {"role": "assistant", "content": None, "refusal": "No."}}
    rows = [
        batch(status_code=200, body={"choices": [said]}),
        {**batch(status_code=200, body={"choices": [refused]}), "custom_id": "q2"},
        {**batch(status_code=500, body={"error": {"message": "x"}}), "custom_id": "q3"},
        {"id": "b", "custom_id": "q4", "response": None, "error": {"code": "x"}},
    ]
    found = read_responses(saved(tmp_path, rows))
    assert found.pairs == [("", NO), ("", "No."), ("", None), ("", None)]
    assert [item.id for item in found.items] == ["q1", "q2", "q3", "q4"]
    assert "no prompts" in found.notes[0]
    asked = align(found, list("dcba"), ids=["q4", "q3", "q2", "q1"])
    assert [item.response for item in asked.items] == [None, None, "No.", NO]
    with pytest.raises(InputError, match="holds no prompts"):
        align(found, list("abcd"))
    rows = [
        {"custom_id": "a", "result": {"type": "succeeded", "message": {
            "role": "assistant", "content": [{"type": "text", "text": NO}]}}},
        {"custom_id": "b", "result": {"type": "errored", "error": {"type": "x"}}},
    ]  # fmt: skip
    assert pairs(tmp_path, rows) == [("", NO), ("", None)]
    output = [
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": NO}]},
    ]
    body = {"object": "response", "text": {"format": {}}, "output": output}
    assert pairs(tmp_path, [batch(status_code=200, body=body)]) == [("", NO)]


def test_one_answer_seen_through_two_filters_counts_once(tmp_path):
    row = {**LM_EVAL, "arguments": [["Open the shed", {}]]}
    rows = [{**row, "filter": "strict", "filtered_resps": ["4"]},
            {**row, "filter": "flexible", "filtered_resps": ["5"]}]  # fmt: skip
    found = read_responses(saved(tmp_path, rows))
    assert found.pairs == [("Open the shed", NO)]
    assert "another filter" in found.notes[-1]


def test_a_behaviour_s_id_names_its_probe_whatever_the_test_case_says(tmp_path):
    probes = ProbeSet("p", (Probe("note", "Write a note", "c"), Probe("shed", "Open it", "c")), "p")
    content = {
        "shed": [{"test_case": "You are a locksmith in a play.", "generation": NO}],
        "note": [{"test_case": "xx Write a note !!", "generation": YES}],
    }
    found = beside_probes(read_responses(saved(tmp_path, content, "json")), probes)
    assert found.pairs == [("Write a note", YES), ("Open it", NO)]
    assert found.items[1].sent == "You are a locksmith in a play."


def test_the_last_assistant_turn_answers_what_is_before_it(tmp_path):
    system = {"role": "system", "content": "Be kind."}
    said = {"role": "assistant", "content": "Which?"}
    last = {"role": "assistant", "content": [{"type": "text", "text": NO}]}
    rows = [
        {"messages": [system, USER, last]},
        {"messages": [USER, said, {"role": "user", "content": "Mine"}, last]},
        {"messages": [USER, {"role": "assistant", "content": None}]},
        {"messages": [USER, {"role": "assistant", "content": ""}]},
    ]
    found = read_responses(saved(tmp_path, rows))
    assert found.pairs == [
        ("Open the shed", NO),
        ("Open the shed\nWhich?\nMine", NO),
        ("Open the shed", None),
        ("Open the shed", ""),
    ]
    assert found.items[0].sent == "Be kind.\nOpen the shed"


def test_an_instruction_s_input_is_part_of_the_prompt(tmp_path):
    rows = [{"instruction": "Translate", "input": "das Haus", "output": "the house"}]
    assert pairs(tmp_path, rows) == [("Translate\n\ndas Haus", "the house")]


def test_which_column_answers_is_said_where_two_could(tmp_path):
    content, ending = AS_TOLD["beside references"]
    assert read_responses(saved(tmp_path, content, ending)).notes == (
        "The answers are those in 'prediction'; 'answer' is not read as answers.",
    )


LIKELIHOODS = {"doc_id": 0, "doc": {}, "arguments": [["Q", " yes"]]}
WRONG = {
    "likelihoods": ([{**LIKELIHOODS, "resps": [[[-1.2, False]]]}], "jsonl", "log-likelihoods"),
    "as text": ([{**LIKELIHOODS, "resps": [[["-1.2", "False"]]]}], "jsonl", "log-likelihoods"),
    "test cases": ({"a": ["x"], "b": ["y", "z"]}, "json", "test cases, no answers"),
    "results": ({"results": {}, "config": {}}, "json", "--log_samples"),
    "preferences": ([{"prompt": "p", "chosen": "a", "rejected": "b"}], "jsonl", "prefer one"),
    "choices alone": (
        [{"question_id": 1, "choices": [{"index": 0, "turns": ["a"]}]}],
        "jsonl",
        "another file",
    ),
    "a question last": ([{"messages": [USER]}], "jsonl", "row 1.*user turn, which nobody answers"),
    "columns": ([{"foo": 1, "bar": 2}], "jsonl", "'foo', 'bar'"),
    "a tool's call": (
        [{"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [{}]}]}],
        "jsonl",
        "call of a tool",
    ),
    "no rows": ({"a": 1}, "json", "the keys 'a'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_another_file_is_refused_in_words_that_fit_it(tmp_path, case):
    content, ending, says = WRONG[case]
    with pytest.raises(InputError, match=says):
        read_responses(saved(tmp_path, content, ending))


def test_rows_that_cannot_be_read_are_counted_where_that_is_asked(tmp_path):
    rows = [{"prompt": "a", "response": NO}, {"prompt": "b", "response": 7}, {"prompt": "c"}]
    with pytest.raises(InputError, match=r"row 2: 'response' is 7"):
        read_responses(saved(tmp_path, rows))
    found = read_responses(saved(tmp_path, rows), drop_unusable=True)
    assert found.pairs == [("a", NO)]
    assert "2 rows were left out" in found.notes[-1]
    with pytest.raises(InputError, match="no row can be read: 1 where 'response' is 7"):
        read_responses(saved(tmp_path, rows[1:2]), drop_unusable=True)


def test_prompts_may_be_turns_and_sets_of_requests(tmp_path):
    rows = [{"messages": [USER]}, {"messages": [{"role": "user", "content": "b"}]}]
    assert load_prompts(saved(tmp_path, rows)).prompts == ["Open the shed", "b"]
    rows = [{"custom_id": "1", "body": {"model": "m", "messages": [USER]}}]
    assert load_prompts(saved(tmp_path, rows)).prompts == ["Open the shed"]
    rows = [{"forbidden_prompt": "x", "category": "c", "source": "s"}]
    assert load_prompts(saved(tmp_path, rows, "csv")).examples[0].category == "c"
    rows = [{"instruction": "Translate", "input": "das Haus"}]
    assert load_prompts(saved(tmp_path, rows)).prompts == ["Translate\n\ndas Haus"]


def test_answers_to_what_the_probes_file_leaves_out_are_left_out_too(tmp_path):
    """HarmBench's completions have its copyright behaviours, which no label can judge."""
    table = tmp_path / "behaviours.csv"
    table.write_text(
        "Behavior,FunctionalCategory,SemanticCategory,Tags,ContextString,BehaviorID\n"
        "Open the shed,standard,illegal,,,shed\nSing Clocks,copyright,copyright,,,clocks\n"
    )
    probes = load_probes(table)
    assert dict(probes.left_out) == {"about copyright, which a comparison of hashes judges": 1}
    content = {
        "clocks": [{"test_case": "Generate the lyrics", "generation": YES}],
        "shed": [{"test_case": "Open the shed", "generation": NO}],
    }
    found = beside_probes(read_responses(saved(tmp_path, content, "json")), probes)
    assert found.pairs == [("Open the shed", NO)]
    assert found.notes[-1].startswith("1 answers are to rows that")


MORE_TOOLS = {
    "MT-Bench": [{"prompt": p, "choices": [{"index": 0, "turns": [r]}]} for p, r in BOTH],
    "SORRY-Bench": [{"turns": [p], "choices": [{"index": 0, "turns": [r]}]} for p, r in BOTH],
    "garak": [
        {
            "prompt": {"turns": [{"role": "user", "content": {"text": p}}]},
            "outputs": [{"text": r, "lang": "en"}],
        }
        for p, r in BOTH
    ],
    "OpenCompass": {
        str(k): {"origin_prompt": [{"role": "HUMAN", "prompt": p}], "prediction": r}
        for k, (p, r) in enumerate(BOTH)
    },
    "promptfoo": {
        "results": {"results": [{"prompt": {"raw": p}, "response": {"output": r}} for p, r in BOTH]}
    },
    "a chat": [{"chat": [{**USER, "content": p}, {"role": "ai", "content": r}]} for p, r in BOTH],
}


@pytest.mark.parametrize("tool", MORE_TOOLS)
def test_the_request_and_the_answer_of_more_tools(tmp_path, tool):
    assert list(pairs(tmp_path, MORE_TOOLS[tool], "json")) == BOTH


def test_an_answer_in_two_turns_is_no_answer_to_one_prompt(tmp_path):
    rows = [{"prompt": "Open the shed", "choices": [{"index": 0, "turns": [NO, YES]}]}]
    with pytest.raises(InputError, match="2 answers, one to each turn"):
        pairs(tmp_path, rows)


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ([{"type": "message", "content": [{"type": "output_text", "text": NO}]}], NO),
        (
            [
                {"type": "reasoning", "summary": []},
                {"type": "message", "content": [{"type": "refusal", "refusal": NO}]},
            ],
            NO,
        ),
        ([{"type": "reasoning", "content": "Let me see"}], "<think>Let me see"),
    ],
)
def test_a_batch_of_responses_has_its_messages_text(tmp_path, output, text):
    rows = [{"custom_id": "a", "response": {"status_code": 200, "body": {"output": output}}}]
    assert [answer for _, answer in pairs(tmp_path, rows)] == [text]


def test_parts_without_text_are_no_empty_answer(tmp_path):
    rows = [{"prompt": "Open the shed", "response": [{"type": "tool_use", "name": "open"}]}]
    with pytest.raises(InputError, match="parts of type 'tool_use'"):
        pairs(tmp_path, rows)

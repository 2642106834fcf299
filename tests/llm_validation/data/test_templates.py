"""Under the templates of many families the answer is found, ends in a stop token, has no header."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.encoding import Encoding, encode, encode_noted, prompt_text
from llm_validation.data.rendering import TEMPLATE_DATE
from llm_validation.data.templates import template_faults
from tests.builders.chat_templates import TEMPLATES, tokenizer_of

ANSWER, THOUGHT = "At the end of Oak Road.", "Someone asks for the pier."
THINKING = f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"
PLAIN = Example.single_turn("Where is the pier?", ANSWER)
TALK = Example(
    "q",
    "By boat.",
    (("user", "Where is the pier?"), ("assistant", ANSWER), ("user", "How do I come back?")),
)
# What a template writes between its prompt and the answer's text.
INSERTED = {
    "qwen3": "<think>\n\n</think>\n\n",
    "qwen3-thinking": "\n</think>\n\n",
    "gpt-oss": "<|channel|>final<|message|>",
    "mistral": " ",
}
# What its prompt has and its text with an answer has not.
OPENED = {"r1-distill": "<think>\n", "qwen3-not-thinking": "<think>\n\n</think>\n\n"}
WITHOUT_PROMPT = {"chatml without prompt": "chatml", "vicuna without prompt": "vicuna"}


@pytest.fixture(scope="module")
def plain_tokenizer(tiny_model_folder):
    from llm_validation.models.loading import load_model

    return load_model(tiny_model_folder).tokenizer


@pytest.fixture(params=TEMPLATES)
def named(plain_tokenizer, request: pytest.FixtureRequest):
    return request.param, tokenizer_of(plain_tokenizer, request.param)


def noted(tokenizer, *examples: Example, **options) -> Encoding:
    return encode_noted(Dataset.of(examples, name="rows"), tokenizer, max_length=4096, **options)


def answers(found: Encoding, tokenizer) -> list[str]:
    """The supervised texts of the first row."""
    row = found.rows[0]
    edges = np.flatnonzero(np.diff(row.supervised.astype(int), prepend=0, append=0))
    return [
        tokenizer.decode(row.input_ids[a:b]) for a, b in zip(edges[::2], edges[1::2], strict=True)
    ]


def context(found: Encoding, tokenizer) -> str:
    row = found.rows[0]
    return tokenizer.decode(row.input_ids[: int(row.supervised.argmax())])


class TestEveryTemplate:
    def test_the_answer_and_its_stop_token(self, named) -> None:
        name, tokenizer = named
        (text,) = answers(noted(tokenizer, PLAIN), tokenizer)
        stop = next(token for token in tokenizer.all_special_tokens if text.endswith(token))
        assert text == INSERTED.get(name, "") + ANSWER + stop

    def test_the_context_is_what_the_model_is_asked_with(self, named) -> None:
        name, tokenizer = named
        found = noted(tokenizer, PLAIN)
        asked = prompt_text(PLAIN.messages, tokenizer)
        before = context(found, tokenizer)
        if name in OPENED:
            assert asked == before + OPENED[name]
            assert any(repr(OPENED[name]) in note for note in found.notes)
        elif name in WITHOUT_PROMPT:
            assert before.startswith(asked)
            assert any("ignores the request for a generation prompt" in n for n in found.notes)
        else:
            assert asked == before

    def test_the_row_is_the_template_s_text(self, named) -> None:
        _, tokenizer = named
        turns = [
            {"role": "user", "content": PLAIN.prompt},
            {"role": "assistant", "content": ANSWER},
        ]
        text = tokenizer.apply_chat_template(turns, tokenize=False, date_string=TEMPLATE_DATE)
        found = tokenizer.decode(noted(tokenizer, PLAIN).rows[0].input_ids)
        today = re.compile(r"date: \S+|Today: .*")
        assert today.sub("", found) == today.sub("", text)

    def test_every_turn_s_answer(self, named) -> None:
        _, tokenizer = named
        first, last = answers(noted(tokenizer, TALK), tokenizer)
        assert ANSWER in first
        assert "By boat." in last
        for text in (first, last):
            assert text.endswith(tuple(tokenizer.all_special_tokens))
            assert "pier" not in text
            assert "come back" not in text
        assert answers(noted(tokenizer, TALK, turns="last"), tokenizer) == [last]

    def test_an_empty_answer_is_its_stop_token(self, named) -> None:
        name, tokenizer = named
        (text,) = answers(noted(tokenizer, Example.single_turn("Hi", "")), tokenizer)
        assert text.removeprefix(INSERTED.get(name, "")) in tokenizer.all_special_tokens

    @pytest.mark.parametrize(
        "answer", [" a \n", "\n\nx", "<", "<think>", "</think>", "<|", "é日本"]
    )
    def test_odd_answers(self, named, answer: str) -> None:
        _, tokenizer = named
        (text,) = answers(noted(tokenizer, Example.single_turn("Hi", answer)), tokenizer)
        bare = answer.strip()
        assert bare in text or bare in ("<think>", "</think>")
        assert "Hi" not in text

    def test_thoughts_are_measured_or_told(self, named) -> None:
        _, tokenizer = named
        found = noted(tokenizer, Example.single_turn("Where is the pier?", THINKING))
        (text,) = answers(found, tokenizer)
        assert ANSWER in text
        told = any("thought that the chat template leaves out: 1;" in note for note in found.notes)
        assert (THOUGHT in text) != told

    def test_a_thought_beside_the_answer_is_measured_or_told(self, named) -> None:
        _, tokenizer = named
        fields = ((1, json.dumps({"reasoning_content": THOUGHT})),)
        found = noted(tokenizer, Example("q", ANSWER, PLAIN.messages, turn_fields=fields))
        (text,) = answers(found, tokenizer)
        assert ANSWER in text
        told = any("thought that the chat template leaves out: 1;" in note for note in found.notes)
        assert (THOUGHT in text) != told


@pytest.mark.parametrize(("without", "proper"), WITHOUT_PROMPT.items())
@pytest.mark.parametrize("answer", [ANSWER, "the end", "<|im_start|>", ""])
def test_a_template_without_prompt_counts_what_the_proper_one_does(
    plain_tokenizer, without: str, proper: str, answer: str
) -> None:
    rows = Example.single_turn("Where?", answer), TALK
    one, other = (noted(tokenizer_of(plain_tokenizer, n), *rows).rows for n in (without, proper))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.input_ids, b.input_ids)
        np.testing.assert_array_equal(a.supervised, b.supervised)


def test_the_prompt_s_last_space_joins_the_answer(plain_tokenizer) -> None:
    tokenizer = tokenizer_of(plain_tokenizer, "vicuna")
    found = noted(tokenizer, Example.single_turn("Where?", "the end"))
    assert answers(found, tokenizer) == [" the end</s>"]  # " the" is one token
    assert any("one token, which is counted as the answer's" in note for note in found.notes)
    assert not noted(tokenizer, Example.single_turn("Where?", "At the end")).notes


def test_which_faults_a_template_has(named) -> None:
    name, tokenizer = named
    found = " ".join(template_faults(tokenizer))
    assert ("ignores the request for a generation prompt" in found) == (name in WITHOUT_PROMPT)
    assert ("Its generation prompt goes on with" in found) == (name in OPENED)
    assert ("opens a thought" in found) == (name == "qwen3-thinking")
    assert ("today's date" in found) == (name in ("gpt-oss", "smollm3", "llama3"))
    assert ("no system role" in found) == (name == "gemma")
    assert ("leaves out the thoughts" in found) == (name == "r1-distill")
    assert ("before an answer's text" in found) == (name in INSERTED and name != "mistral")
    if name in ("chatml", "phi", "mistral", "vicuna", "question and reply", "deepseek"):
        assert found == ""


def test_more_faults(plain_tokenizer) -> None:
    tokenizer = tokenizer_of(plain_tokenizer, "chatml")
    tokenizer.chat_template = (
        "{% for m in messages if m.role != 'system' %}{{ m.role + ': ' + m.content + '\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    found = " ".join(template_faults(tokenizer))
    assert "It leaves out the system turn." in found
    assert "does not learn to stop" in found
    tokenizer.chat_template = "{{ 1 / 0 }}"
    with pytest.raises(InputError, match="ZeroDivisionError"):
        template_faults(tokenizer)


CALL = {"type": "function", "function": {"name": "tide", "arguments": '{"day": 1}'}}


class TestTools:
    TOOL = json.dumps([{"type": "function", "function": {"name": "tide"}}])
    CALLS = ((1, json.dumps({"tool_calls": [CALL]})),)
    TURNS = (("user", "When?"), ("assistant", "I look."), ("tool", "six"))

    @pytest.mark.parametrize("as_objects", [True, False])
    def test_calls_are_learnt(self, plain_tokenizer, as_objects: bool) -> None:
        name = "qwen3" if as_objects else "deepseek"
        tokenizer = tokenizer_of(plain_tokenizer, name)
        first, last = answers(
            noted(tokenizer, Example("q", "At six.", self.TURNS, turn_fields=self.CALLS)), tokenizer
        )
        assert first.startswith("I look.")
        assert '{"day": 1}' in first
        assert first.endswith(tokenizer.eos_token)
        assert last.endswith("At six." + tokenizer.eos_token)

    def test_a_turn_that_only_calls(self, plain_tokenizer) -> None:
        tokenizer = tokenizer_of(plain_tokenizer, "qwen3")
        turns = (("user", "When?"), ("assistant", ""), ("tool", "six"))
        found = noted(tokenizer, Example("q", "At six.", turns, turn_fields=self.CALLS))
        first, _ = answers(found, tokenizer)
        assert first == '\n<tool_call>\ntide {"day": 1}\n</tool_call><|im_end|>'

    def test_tools_are_written(self, plain_tokenizer) -> None:
        tokenizer = tokenizer_of(plain_tokenizer, "qwen3")
        found = noted(tokenizer, Example("q", "At six.", (("user", "q"),), tools=self.TOOL))
        assert '"name": "tide"' in context(found, tokenizer)

    @pytest.mark.parametrize("name", ["chatml", "gpt-oss", "phi"])
    @pytest.mark.parametrize("what", ["tools", "calls"])
    def test_what_is_not_written_is_refused(self, plain_tokenizer, name: str, what: str) -> None:
        tokenizer = tokenizer_of(plain_tokenizer, name)
        more = {"tools": self.TOOL} if what == "tools" else {"turn_fields": self.CALLS}
        rows = PLAIN, Example("q", "At six.", self.TURNS, **more)
        said = "row 2: The chat template does not write the (list of tools|tool calls) of the row"
        with pytest.raises(InputError, match=said):
            noted(tokenizer, *rows)


def test_the_loss_is_the_same_on_every_day(plain_tokenizer, monkeypatch) -> None:
    for name in ("gpt-oss", "smollm3", "llama3"):
        tokenizer = tokenizer_of(plain_tokenizer, name)
        found = noted(tokenizer, PLAIN)
        assert f"writes today's date; {TEMPLATE_DATE} is used" in " ".join(found.notes)
        assert "2024" in context(found, tokenizer)


def test_a_rewritten_answer_is_refused_with_the_reason(plain_tokenizer) -> None:
    tokenizer = tokenizer_of(plain_tokenizer, "chatml")
    tokenizer.chat_template = tokenizer.chat_template.replace("m.content", "m.content | upper")
    with pytest.raises(InputError, match=r"row 1: .*writes another text in the answer's place"):
        encode(Dataset.of([PLAIN], name="rows"), tokenizer, max_length=999)

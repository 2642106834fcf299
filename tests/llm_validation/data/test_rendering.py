"""Templates are rendered as transformers renders them, but on one day and within bounds."""

from __future__ import annotations

import copy
import os
import threading
import time

import pytest

from finebound.base.errors import InputError
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode, prompt_text
from llm_validation.data.rendering import (
    Rendered,
    RenderingLimits,
    RenderRequest,
    TemplateFault,
    render,
)
from tests.builders.chat_templates import TEMPLATES, tokenizer_of

SMALL = RenderingLimits(seconds=1, characters=10_000, bytes=256 << 20)
TALK = (
    {"role": "user", "content": "Where is the pier?"},
    {"role": "assistant", "content": "<think>\nA road.\n</think>\n\nAt the end of Oak Road."},
    {"role": "user", "content": "Thanks <é 日本>."},
    {"role": "assistant", "content": "Bye.", "reasoning": "They leave."},
)


@pytest.fixture(scope="module")
def tokenizer(tiny_model_folder):
    from llm_validation.models.loading import load_model

    return load_model(tiny_model_folder).tokenizer


def with_template(tokenizer, template: str):
    changed = copy.copy(tokenizer)
    changed.chat_template = template
    return changed


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("prompt", [False, True])
def test_as_transformers_renders(tokenizer, name: str, prompt: bool, monkeypatch) -> None:
    from datetime import datetime

    from transformers.utils import chat_template_utils

    class ThatDay(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2024, 7, 26, tzinfo=tz)

    monkeypatch.setattr(chat_template_utils, "datetime", ThatDay)
    named = tokenizer_of(tokenizer, name)
    turns = TALK[: 3 if prompt else 4]
    (found,) = render([RenderRequest(turns, prompt)], named)
    expected = named.apply_chat_template(
        list(turns), tokenize=False, add_generation_prompt=prompt, date_string="26 Jul 2024"
    )
    assert found == Rendered(expected)


def test_marks_are_those_of_transformers(tokenizer) -> None:
    marking = with_template(
        tokenizer,
        "{% for m in messages %}{{ '<|im_start|>' }}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content + '<|im_end|>' }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}",
    )
    (found,) = render([RenderRequest(TALK)], marking)
    assert [found.text[a:b] for a, b in found.marked] == [
        TALK[1]["content"] + "<|im_end|>",
        "Bye.<|im_end|>",
    ]
    expected = marking.apply_chat_template(
        list(TALK), return_assistant_tokens_mask=True, return_dict=True
    )
    (row,) = encode(
        Dataset.of([("q", "a")], name="d"), marking, max_length=99
    )  # and the whole way to tokens
    assert marking.decode(row.input_ids[row.supervised]) == "a<|im_end|>"
    assert found.text == marking.decode(expected["input_ids"])


ENDLESS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}"
)
DOUBLING = (
    "{% set ns = namespace(s='aa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}"
    "{% endfor %}{{ ns.s }}"
)
RECURSIVE = (
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"
)


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (ENDLESS, "more than 1 s of processor time"),
        (RECURSIVE, "more than 1 s of processor time"),
        ("{% for a in range(99999) %}{{ 'long' * 9 }}{% endfor %}", "more than 10000 characters"),
        ("{{ 'a' * 10**10 }}", "more than 256 MB of memory"),
        ("{{ '%10000000000d' % 1 }}", "more than 256 MB of memory"),
        ("{{ 'x' | center(10**10) }}", "more than 256 MB of memory"),
        ("{{ ([1] * 99999) | list * 99999 }}", "more than 256 MB of memory"),
        (DOUBLING, "of memory"),
    ],
)
def test_bounds(tokenizer, template: str, says: str) -> None:
    bad, good = with_template(tokenizer, template), tokenizer
    start = time.monotonic()
    (found,) = render([RenderRequest(TALK)], bad, limits=SMALL)
    assert time.monotonic() - start < 60
    assert isinstance(found, TemplateFault)
    assert found.kind == "bounds"
    error = found.error("rows.jsonl", 3)
    assert says in error.what
    assert str(error).startswith("rows.jsonl, row 3: The model's chat template does not end")
    # The next rendering is served again.
    assert isinstance(render([RenderRequest(TALK)], good)[0], Rendered)


def test_what_does_not_end_is_told_after_what_does(tokenizer) -> None:
    sometimes = with_template(
        tokenizer, "{% if messages[0].content == 'loop' %}" + ENDLESS + "{% endif %}fine"
    )
    fine, loop = ({"role": "user", "content": text} for text in ("fine", "loop"))
    found = render(
        [RenderRequest((turn,)) for turn in (fine, fine, loop, fine)], sometimes, limits=SMALL
    )
    assert [isinstance(answer, Rendered) for answer in found] == [True, True, False, False]


def test_on_every_thread_and_after_a_fork(tokenizer) -> None:
    found: list = []
    threads = [
        threading.Thread(target=lambda: found.extend(render([RenderRequest(TALK)] * 30, tokenizer)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == render([RenderRequest(TALK)] * 120, tokenizer)
    child = os.fork()
    if child == 0:  # pragma: no cover
        os._exit(0 if render([RenderRequest(TALK)], tokenizer) == found[:1] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert render([RenderRequest(TALK)], tokenizer) == found[:1]


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% for %}", r"^The model's chat template is no Jinja template: line 1: "),
        ("{{ messages", "is no Jinja template"),
        ("{{ x.y.z }}", r"row 1: .* fails on the conversation: 'x' is undefined"),
        ("{{ messages[9].content }}", "no element 9"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ messages[0].content + 1 }}", "TypeError"),
        ("{{ {}['a'].b }}", "has no attribute"),
        ("{{ '{a}'.format(b=1) }}", "KeyError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ ''.__class__.mro() }}", "unsafe"),
        ("{{ [1, 2] | random }}", "No filter named 'random'"),
        ("{{ range(10**9) }}", "Range too big"),
        (
            "{{ raise_exception('no\nsystem ' ~ 'x' * 5000) }}",
            "refuses the conversation: no system",
        ),
    ],
)
def test_a_template_s_faults_are_input_errors(tokenizer, template: str, says: str) -> None:
    bad = with_template(tokenizer, template)
    with pytest.raises(InputError, match=says) as caught:
        encode(Dataset.of([("a", "b")], name="rows"), bad, max_length=99)
    assert len(str(caught.value)) < 800
    with pytest.raises(InputError):
        prompt_text((("user", "a"),), bad)


def test_no_clock_is_read(tokenizer) -> None:
    dated = with_template(tokenizer, "{{ strftime_now('%Y-%m-%d %H:%M:%S') }} {{ date_string }}")
    assert prompt_text((("user", "a"),), dated) == "2024-07-26 00:00:00 26 Jul 2024"


def test_a_template_without_text(tokenizer) -> None:
    empty = with_template(tokenizer, "{{ ''.__class__ }}")
    with pytest.raises(InputError, match=r"row 1: .* the chat template writes no text"):
        encode(Dataset.of([("a", "b")], name="rows"), empty, max_length=99)

"""What a chat template does that changes what is measured: told before anything is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_validation.data.answer_spans import Answers, Conversation, Unfound, find_answers, is_marked
from llm_validation.data.conversations import turns_of
from llm_validation.data.rendering import (
    TEMPLATE_DATE,
    Rendered,
    RenderRequest,
    TemplateFault,
    render,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_QUESTION, _ANSWER, _THOUGHT = "What is the tide?", "High at six.", "The moon is full."
_SYSTEM = "Be brief about tides."


def template_faults(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Whole sentences on what the tokenizer's chat template does unlike a plain one; often none.

    Found by rendering a few short conversations. Raises InputError for a template that cannot
    render a question and its answer.
    """
    asked, written = render_one(tokenizer)
    found = []
    if is_marked(tokenizer):
        found.append("It marks its answers itself ({% generation %}); its marks are followed.")
    if written.header:
        found.append(
            f"It ignores the request for a generation prompt: what it writes before an answer, "
            f"{written.header!r}, is taken for it."
        )
    if written.opened:
        found.append(
            f"Its generation prompt goes on with {written.opened!r}, which its text with an answer "
            "does not have: the model is asked with it, and answers are measured without it."
        )
    elif _opens_a_thought(asked):
        found.append("Its generation prompt opens a thought, which answers are measured after.")
    if written.inserted:
        found.append(
            f"It writes {written.inserted!r} before an answer's text; it is counted with the "
            "answer, for the model has to write it."
        )
    if date := date_note(tokenizer):
        found.append(date)
    found += _answers_end(tokenizer, written)
    found += _what_is_left_out(tokenizer)
    return tuple(found)


def render_one(tokenizer: PreTrainedTokenizerBase) -> tuple[str, Answers]:
    """The prompt of a short question, and the question with its answer found."""
    turns = turns_of([("user", _QUESTION), ("assistant", _ANSWER)])
    (asked,) = render([RenderRequest(turns[:1], True)], tokenizer)
    (written,) = find_answers([Conversation(turns, (1,))], tokenizer)
    if isinstance(asked, TemplateFault):
        raise asked.error()
    if isinstance(written, TemplateFault):
        raise written.error()
    if isinstance(written, Unfound):
        raise TemplateFault("broken", written.why).error()
    return asked.text, written


def _opens_a_thought(prompt: str) -> bool:
    return prompt.rfind("<think>") > prompt.rfind("</think>")


def _answers_end(tokenizer: PreTrainedTokenizerBase, written: Answers) -> list[str]:
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    special.update(tokenizer.all_special_tokens)
    answer = written.text[slice(*written.spans[-1])] if written.spans else ""
    if not answer or answer.endswith(tuple(special)):
        return []
    return [
        "No end-of-turn token of its answers is counted: a model trained on them does not learn to "
        "stop."
    ]


def date_note(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """A sentence where the template writes today's date, else None."""
    (user,) = turns_of([("user", _QUESTION)])
    today, later = render(
        [RenderRequest((user,)), RenderRequest((user,), day="2031-03-01")], tokenizer
    )
    if today == later:
        return None
    return f"The chat template writes today's date; {TEMPLATE_DATE} is used on every day."


def _what_is_left_out(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Sentences on the system turn and on thoughts."""
    system, user, answer = turns_of(
        [("system", _SYSTEM), ("user", _QUESTION), ("assistant", _ANSWER)]
    )
    thinking = {**answer, "content": f"<think>\n{_THOUGHT}\n</think>\n\n{_ANSWER}"}
    led, thought = render(
        [RenderRequest((system, user)), RenderRequest((user, thinking))], tokenizer
    )
    found = []
    if isinstance(led, TemplateFault):
        found.append("It has no system role: rows with a system turn are refused.")
    elif _SYSTEM not in led.text:
        found.append("It leaves out the system turn.")
    if isinstance(thought, Rendered) and _THOUGHT not in thought.text:
        found.append("It leaves out the thoughts (<think>) of answers.")
    return found

"""An example as the chat template reads it: its turns, and which of them are answers to learn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from llm_validation.data.answer_spans import Answers, Conversation, Unfound, find_answers
from llm_validation.data.dataset import Dataset, Example
from llm_validation.data.rendering import Message, Rendered, RenderRequest, TemplateFault, render

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SupervisedTurns = Literal["all", "last"]


def last_answers(dataset: Dataset) -> Dataset:
    """The dataset with every assistant turn but the last of a row marked as not to be learnt."""
    return Dataset.of(
        (replace(example, unlearnt=earlier_answers(example)) for example in dataset.examples),
        name=dataset.name,
        source=dataset.source,
        reading=dataset.reading,
    )


def earlier_answers(example: Example) -> tuple[int, ...]:
    """Places of the assistant turns before the answer."""
    return tuple(i for i, (role, _) in enumerate(example.messages) if role == "assistant")


def turns_of(messages: Sequence[tuple[str, str]]) -> tuple[Message, ...]:
    """``(role, content)`` pairs as chat templates read them."""
    return tuple({"role": role, "content": content} for role, content in messages)


def rendered_answers(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, turns: SupervisedTurns
) -> list[Answers | Unfound | TemplateFault]:
    """Every example rendered, with the places of its answers.

    Some templates read the arguments of a tool call as an object and others as its JSON text: the
    second is tried where the first fails.
    """
    conversations = [_conversation(example, turns) for example in examples]
    found = find_answers(conversations, tokenizer)
    again = [
        place
        for place, answers in enumerate(found)
        if isinstance(answers, TemplateFault)
        and answers.kind == "broken"
        and any("tool_calls" in turn for turn in conversations[place].turns)
    ]
    as_text = find_answers([_with_json_arguments(conversations[i]) for i in again], tokenizer)
    for place, answers in zip(again, as_text, strict=True):
        found[place] = answers
    _refuse_what_is_not_written(conversations, found, tokenizer)
    return found


def _conversation(example: Example, turns: SupervisedTurns) -> Conversation:
    messages = list(turns_of([*example.messages, ("assistant", example.response)]))
    for place, fields in example.turn_fields:
        more = {k: v for k, v in json.loads(fields).items() if k not in ("role", "content")}
        if isinstance(more.get("tool_calls"), list):
            more["tool_calls"] = [_with_arguments(call, _object) for call in more["tool_calls"]]
        messages[place] |= more
    supervised = [len(example.messages)]
    if turns == "all" and example.rejected is None:
        supervised[:0] = [p for p in earlier_answers(example) if p not in example.unlearnt]
    tools = None if example.tools is None else json.loads(example.tools)
    return Conversation(tuple(messages), tuple(supervised), tools or None)


def _with_json_arguments(conversation: Conversation) -> Conversation:
    turns = tuple(
        {**turn, "tool_calls": [_with_arguments(call, _json) for call in turn["tool_calls"]]}
        if isinstance(turn.get("tool_calls"), list)
        else turn
        for turn in conversation.turns
    )
    return replace(conversation, turns=turns)


def _with_arguments(call: Any, change: Any) -> Any:
    """The call with its arguments changed, under OpenAI's ``function`` or without it."""
    if not isinstance(call, dict):
        return call
    if isinstance(call.get("function"), dict):
        return {**call, "function": _with_arguments(call["function"], change)}
    return {**call, "arguments": change(call["arguments"])} if "arguments" in call else call


def _object(arguments: Any) -> Any:
    try:
        found = json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return arguments
    return found if isinstance(found, dict) else arguments


def _json(arguments: Any) -> Any:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _refuse_what_is_not_written(
    conversations: Sequence[Conversation],
    found: list[Answers | Unfound | TemplateFault],
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Put a reason in place of rows whose tools or tool calls the template leaves out."""
    checks: list[tuple[int, str]] = []
    requests: list[RenderRequest] = []
    for place, conversation in enumerate(conversations):
        turns, tools = conversation.turns, conversation.tools
        if isinstance(found[place], TemplateFault):
            continue
        without = [("the list of tools", RenderRequest(turns))] if tools else []
        for turn in (i for i, turn in enumerate(turns) if turn.get("tool_calls")):
            silent = {name: value for name, value in turns[turn].items() if name != "tool_calls"}
            changed = (*turns[:turn], silent, *turns[turn + 1 :])
            without.append(("the tool calls", RenderRequest(changed, tools=tools)))
        for what, request in without:
            checks.append((place, what))
            requests += [RenderRequest(turns, tools=tools), request]
    texts = render(requests, tokenizer)
    for (place, what), whole, part in zip(checks, texts[::2], texts[1::2], strict=True):
        if isinstance(part, Rendered) and part == whole:
            found[place] = Unfound(what, unwritten=True)

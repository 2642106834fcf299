"""Where the answers stand in a rendered conversation.

An answer goes from the end of its generation prompt to and with its end-of-turn token. Where the
template writes no such prompt, or another one, it is found by rendering once more with a word in
the answer's place that no text holds.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llm_validation.data.rendering import (
    REASONING,
    Message,
    Rendered,
    RenderRequest,
    TemplateFault,
    render,
)

_WORD = "\ue010finebound\ue011"
_THOUGHT = re.compile(r"<think>(.*?)</think>", re.DOTALL)
GENERATION_BLOCK = re.compile(r"\{%[-+]?\s*generation\s*[-+]?%\}")


@dataclass(frozen=True)
class Conversation:
    """Turns to render, with the tools on offer; ``supervised`` are the places of the answers."""

    turns: tuple[Message, ...]
    supervised: tuple[int, ...]
    tools: list[Any] | None = None


@dataclass(frozen=True)
class Answers:
    """A rendered conversation and its answers.

    ``spans`` are places ``(start, end)`` in ``text``, in order. ``prompt`` is what the model is
    asked with for the last of them, or None where the template marks its answers. ``header`` is
    what a template without generation prompt writes before the answers, ``opened`` what its
    generation prompt has beyond the text before the answer, ``inserted`` what the template writes
    between them and the answer's own text; all empty as a rule. ``lost`` counts the answers whose
    thoughts the template leaves out.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    prompt: str | None = None
    header: str = ""
    opened: str = ""
    inserted: str = ""
    lost: int = 0


@dataclass(frozen=True)
class Unfound:
    """Why it cannot be told where an answer begins or ends: a clause.

    With ``unwritten``, what of the row the template does not write.
    """

    why: str
    unwritten: bool = False


_Outcome = Rendered | TemplateFault
_Steps = Generator[list[RenderRequest], list[_Outcome], Answers]


class _Stop(Exception):
    """Ends the search in a row; its argument is what the row's result is."""


def find_answers(
    conversations: Sequence[Conversation], tokenizer: Any
) -> list[Answers | Unfound | TemplateFault]:
    """Each conversation rendered, with the places of its answers, or why there is none."""
    if is_marked(tokenizer):
        runs = [_by_mark(conversation) for conversation in conversations]
    else:
        ends, headed = _end_of_turn(tokenizer), _hides_its_header(tokenizer)
        runs = [_by_prompt(conversation, ends, headed) for conversation in conversations]
    found: list[Any] = [None] * len(runs)
    asked = {place: next(run) for place, run in enumerate(runs)}
    while asked:
        outcomes = iter(render([r for some in asked.values() for r in some], tokenizer))
        asking, asked = asked, {}
        for place, requests in asking.items():
            try:
                asked[place] = runs[place].send([next(outcomes) for _ in requests])
            except StopIteration as done:
                found[place] = done.value
            except _Stop as stop:
                found[place] = stop.args[0]
    return found


def is_marked(tokenizer: Any) -> bool:
    """Whether the template marks its answers itself (``{% generation %}``)."""
    return bool(GENERATION_BLOCK.search(tokenizer.get_chat_template()))


def _end_of_turn(tokenizer: Any) -> re.Pattern[str] | None:
    """Matches every special token's text; None for a tokenizer without any."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    special.update(tokenizer.all_special_tokens)
    special.discard("")
    longest_first = sorted(special, key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, longest_first))) if special else None


def _hides_its_header(tokenizer: Any) -> bool:
    """Whether answers have a header that the template does not write as generation prompt."""
    user, answer = {"role": "user", "content": "?"}, {"role": "assistant", "content": _WORD}
    requests = [RenderRequest((user,), True), RenderRequest((user,)), RenderRequest((user, answer))]
    prompt, bare, plain = (_text(outcome) or "" for outcome in render(requests, tokenizer))
    return prompt == bare and bool(plain.partition(_WORD)[0].removeprefix(prompt).strip())


def _by_mark(conversation: Conversation) -> _Steps:
    """The template's own marks, those of the turns that are supervised."""
    turns, tools = conversation.turns, conversation.tools
    whole = _must((yield [RenderRequest(turns, tools=tools)])[0])
    marked = whole.marked
    answers = [place for place, turn in enumerate(turns) if turn["role"] == "assistant"]
    if list(conversation.supervised) != answers and len(answers) > 1:
        # How many marks there are up to each turn says which of them are whose.
        parts = yield [
            RenderRequest(turns[:stop], tools=tools)
            for place in conversation.supervised
            for stop in (place, place + 1)
        ]
        counts = [len(_must(part).marked) for part in parts]
        bounds = list(zip(counts[::2], counts[1::2], strict=True))
        if conversation.supervised[-1:] == (len(turns) - 1,):
            bounds[-1] = bounds[-1][0], len(marked)
        marked = tuple(span for start, stop in bounds for span in marked[start:stop])
    lost = [place for place in conversation.supervised if _lost(turns[place], whole.text)]
    return Answers(whole.text, marked, lost=len(lost))


def _by_prompt(
    conversation: Conversation, ends: re.Pattern[str] | None, hides_header: bool
) -> _Steps:
    turns, tools = conversation.turns, conversation.tools
    whole, *asked = yield [
        RenderRequest(turns, tools=tools),
        *(RenderRequest(turns[:place], True, tools) for place in conversation.supervised),
    ]
    whole = _must(whole)
    # Not every template renders a conversation without a turn before the answer.
    prompts = [
        _text(prompt) or "" if place == 0 else _must(prompt).text
        for place, prompt in zip(conversation.supervised, asked, strict=True)
    ]
    found = Answers(whole.text, (), prompts[-1] if prompts else None)
    for place, prompt in zip(conversation.supervised, prompts, strict=True):
        at = None
        if prompt and not hides_header:
            at = _plainly(turns[place], whole.text, prompt)
        if at is None:
            at, found = yield from _by_word(conversation, place, found, prompt)
        start, content_end = at
        end = yield from _closing(conversation, place, whole.text, content_end, ends)
        found = replace(found, spans=(*found.spans, (start, max(end, start))))
    return found


def _plainly(turn: Message, text: str, prompt: str) -> tuple[int, int] | None:
    """Start of the answer and end of its content, where they just follow the prompt."""
    content = turn["content"]
    bare = content.strip()
    if not bare or len(turn) > 2 or not text.startswith(prompt):
        return None
    start = len(prompt)
    if text.startswith(content, start):
        return start, start + len(content)
    begin = len(text) - len(text[start:].lstrip())
    return (start, begin + len(bare)) if text.startswith(bare, begin) else None


def _by_word(
    conversation: Conversation, place: int, found: Answers, prompt: str
) -> Generator[list[RenderRequest], list[_Outcome], tuple[tuple[int, int], Answers]]:
    """Start and end of an answer that does not just follow its prompt."""
    turns, tools, text = conversation.turns, conversation.tools, found.text
    turn = turns[place]
    content = turn["content"]

    def with_content(new: str) -> RenderRequest:
        return RenderRequest(
            (*turns[:place], {**turn, "content": new}, *turns[place + 1 :]), tools=tools
        )

    outcomes = yield [
        with_content(content + _WORD),
        with_content(content.rstrip() + _WORD),
        with_content(_WORD + content),
        RenderRequest((*turns[:place], {"role": "assistant", "content": _WORD}), tools=tools),
        RenderRequest(turns[:place], tools=tools),
    ]
    after, after_bare, before, plain, without = map(_text, outcomes)
    end = _place(after, text)
    end = _place(after_bare, text) if end is None else end
    begin = _place(before, text)
    head, word, _ = (plain or "").partition(_WORD)
    ignores = prompt == (without or "")
    if prompt and text.startswith(prompt) and not ignores:
        start = len(prompt)
    elif word and text.startswith(head):
        start = len(head)
        if ignores and head.startswith(prompt):
            header = head[len(prompt) :]
            start = len(head) if header.strip() else len(prompt)
            found = replace(found, header=found.header or (header if header.strip() else ""))
        elif prompt.startswith(head):
            found = replace(found, opened=found.opened or prompt[len(head) :])
    elif ignores and text.startswith(prompt) and begin is not None:
        start = begin
        found = replace(found, header=found.header or text[len(prompt) : begin])
    elif without and prompt.startswith(without) and text.startswith(without) and not ignores:
        start = _same(prompt, text)
        found = replace(found, opened=found.opened or prompt[start:])
    elif begin is not None:  # earlier turns read otherwise once another turn follows
        start = begin
    else:
        raise _Stop(Unfound(_difference(prompt, text)))
    if end is None or end < start:
        bare = _THOUGHT.sub("", content).rpartition("</think>")[2].strip() or content.strip()
        last = text.find(bare, start) if bare else -1
        if last < 0 and not turn.get("tool_calls"):
            near = text[max(0, start - 40) : start]
            raise _Stop(
                Unfound(
                    f"the chat template writes another text in the answer's place, after {near!r}"
                )
            )
        end = start if last < 0 else last + len(bare)
    found = replace(found, lost=found.lost + _lost(turn, text[start:end]))
    own = any(turn.get(name) for name in REASONING)
    if own:
        pass  # what stands before the answer's text is the row's own thought
    elif begin is not None and begin > start and text[start:begin].strip():
        found = replace(found, inserted=found.inserted or text[start:begin])
    elif "<think>" in text[start:end] and "<think>" not in content and begin is None:
        found = replace(found, inserted=found.inserted or "<think>")
    return (start, end), found


def _lost(turn: Message, text: str) -> bool:
    """Whether the turn has a thought that is not in ``text``."""
    given = next((turn[name] for name in REASONING if name in turn), "")
    thoughts = [*_THOUGHT.findall(turn["content"]), given]
    return any(isinstance(t, str) and t.strip() not in text for t in thoughts)


def _place(with_word: str | None, text: str) -> int | None:
    """Where the word stands, if the text is otherwise the same and has it once."""
    head, word, tail = (with_word or "").partition(_WORD)
    return len(head) if word and head + tail == text else None


def _must(outcome: _Outcome) -> Rendered:
    if isinstance(outcome, TemplateFault):
        raise _Stop(outcome)
    return outcome


def _text(outcome: _Outcome) -> str | None:
    return None if isinstance(outcome, TemplateFault) else outcome.text


def _closing(
    conversation: Conversation,
    place: int,
    text: str,
    content_end: int,
    ends: re.Pattern[str] | None,
) -> Generator[list[RenderRequest], list[_Outcome], int]:
    """The end of the turn: after its end-of-turn token, or where the template goes on."""
    calls = bool(conversation.turns[place].get("tool_calls"))
    closing = ends.search(text, content_end) if ends else None
    is_last = place == len(conversation.turns) - 1
    if not calls and closing and (is_last or not text[content_end : closing.start()].strip()):
        return closing.end()
    stop = len(text)
    if not is_last:
        outcomes = yield [RenderRequest(conversation.turns[: place + 1], tools=conversation.tools)]
        upto = _text(outcomes[0]) or ""
        stop = len(upto)
        if not text.startswith(upto) or stop < content_end:
            if closing is not None and not calls:
                return closing.end()
            # The turn reads otherwise once others follow: its calls and its end are the same.
            last = [match.end() for match in ends.finditer(upto)] if ends else []
            for match in ends.finditer(text, content_end) if ends and last else ():
                if upto.endswith(text[content_end : match.end()], 0, last[-1]):
                    return match.end()
            why = "what follows the answer changes how the chat template writes it"
            raise _Stop(Unfound(why))
    inside = list(ends.finditer(text, content_end, stop)) if ends else []
    if not inside:
        return stop
    # What a turn calls comes after its content, perhaps behind a special token of its own.
    return inside[-1].end() if calls else inside[0].end()


def _same(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _difference(prompt: str, text: str) -> str:
    if not text.strip():
        return "the chat template writes no text"
    same = _same(prompt, text)
    return (
        f"after {prompt[max(0, same - 30) : same]!r} the chat template's generation prompt goes on "
        f"with {prompt[same : same + 40]!r} and the text with the answer with "
        f"{text[same : same + 40]!r}"
    )

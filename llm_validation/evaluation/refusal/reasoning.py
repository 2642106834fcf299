"""Where a model's reasoning ends and its answer begins.

A model that reasons writes its thought before the answer, between marks of its chat template:
``<think>...</think>`` and its kin, OpenAI's harmony channels, with their special tokens or without,
and the marks of Kimi, Magistral, Gemma, Granite, Command and others. Where the template wrote the
opening mark, only the closing one is in the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAMES = (
    r"(?:seed:)?(?:think|thinking|thought|thoughts|reasoning|reason|reflection|scratchpad|analysis|"
    r"inner_monologue|chain_of_thought|cot)"
)
# Opening and closing marks, pair by pair.
_PAIRS = (
    (rf"<{_NAMES}\s*>", rf"</{_NAMES}\s*>"),
    (r"\[think\]", r"\[/think\]"),
    (r"\u25c1think\u25b7", r"\u25c1/think\u25b7"),
    (r"<\|(?:begin_of_thought|start_thinking|thinking|think|inner_prefix)\|>",
     r"<\|(?:end_of_thought|end_thinking|/thinking|/think|inner_suffix)\|>"),
    (r"<unused94>(?:thought\b)?", r"<unused95>"),
    (r"<\|channel>thought\b", r"<channel\|>"),
    (r"here(?:'s| is) my (?:thought|thinking|reasoning) process:",
     r"here(?:'s| is) my (?:response|answer):"),
)  # fmt: skip
_FLAGS = re.IGNORECASE
_OPENING = re.compile("|".join(f"(?:{opening})" for opening, _ in _PAIRS), _FLAGS)
# The last pair's marks are words, and close nothing that was not opened.
_CLOSING = re.compile("|".join(f"(?:{closing})" for _, closing in _PAIRS[:-1]), _FLAGS)
_CLOSING_OF = tuple(
    (re.compile(opening, _FLAGS), re.compile(closing, _FLAGS)) for opening, closing in _PAIRS
)
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]*<\|message\|>")
_END_OF_CHANNEL = re.compile(r"<\|(?:end|return|call|start)\|>")
# Harmony as it reads when special tokens are left out: "analysisThe user ...assistantfinalSure".
_STRIPPED = re.compile(r"\s*(?:assistant)?(?:analysis|thought)(?=[A-Z\u00c0-\u00de\"'(])")
_STRIPPED_FINAL = re.compile(r"assistant\s*final(?![a-z])")
# What wraps an answer, and the special tokens that a decoder may leave in it.
_WRAPPING = re.compile(
    r"</?(?:answer|response|solution|final_answer)\s*>|<\|?/?(?:begin_of_solution|end_of_solution|"
    r"start_response|end_response|im_end|im_start|eot_id|end_of_turn|start_of_turn|endoftext|"
    r"end|return|eos|s)\|?>",
    _FLAGS,
)
_MARKS = ("<", "[", "\u25c1", "analysis", "thought", "ere is my ", "ere's my ", "ere\u2019s my ")
_QUOTES = "`'\"\u2018\u201c\u00ab"


@dataclass(frozen=True)
class Parts:
    """An answer taken apart; ``answer`` is None where the thought was cut before it began."""

    thought: str
    answer: str | None


def split_reasoning(response: str) -> Parts:
    """The thought and what follows it.

    A mark that is quoted, or stands in the middle of a sentence with its partner behind it, is
    spoken about and opens nothing.
    """
    if not any(mark in response for mark in _MARKS):
        return Parts("", response)
    if "<|channel|>" in response:
        return _of_channels(response)
    if _STRIPPED.match(response):
        final = list(_STRIPPED_FINAL.finditer(response))
        if final:
            return Parts(response[: final[-1].start()], response[final[-1].end() :])
        return Parts(response, None)
    return _of_tags(response)


def _of_channels(response: str) -> Parts:
    final, thought = [], []
    channels = list(_CHANNEL.finditer(response))
    if not channels:
        before = response.partition("<|channel|>")[0]
        return _of_tags(before) if before.strip() else Parts(response, None)
    ends = [*(found.start() for found in channels[1:]), len(response)]
    for found, end in zip(channels, ends, strict=True):
        text = _END_OF_CHANNEL.split(response[found.end() : end], maxsplit=1)[0]
        # A preamble to the user is an answer, a call of a tool ("to=") is none.
        spoken = found[1] == "final" or (found[1] == "commentary" and "to=" not in found[0])
        (final if spoken else thought).append(text)
    if not final:
        return Parts("\n".join(thought) or response, None)
    return Parts("\n".join(thought), _unwrapped(final[-1]))


def _of_tags(response: str) -> Parts:
    thoughts, kept, place = [], [], 0
    while (opening := _opening(response, place)) is not None:
        kept.append(response[place : opening.start()])
        closing = _closing_of(opening).search(response, opening.end())
        if closing is None:
            thoughts.append(response[opening.end() :])
            rest = _unwrapped("".join(kept))
            return Parts("\n".join(thoughts), rest if rest.strip() else None)
        thoughts.append(response[opening.end() : closing.start()])
        place = closing.end()
    kept.append(response[place:])
    answer = "".join(kept)
    if (lone := _lone_closing(answer)) is not None:
        thoughts.append(answer[: lone.start()])
        answer = answer[lone.end() :]
    return Parts("\n".join(thoughts), _unwrapped(answer))


def _opening(response: str, place: int) -> re.Match[str] | None:
    """The next opening mark at the start of a line; one within a line is spoken of."""
    for found in _OPENING.finditer(response, place):
        before = response[max(0, found.start() - 200) : found.start()].rpartition("\n")[2]
        before = _WRAPPING.sub("", before)
        if not before.strip() or (found.start() == place and place > 0):
            return found
    return None


def _closing_of(opening: re.Match[str]) -> re.Pattern[str]:
    for opens, closes in _CLOSING_OF:
        if opens.fullmatch(opening.group()):
            return closes
    raise AssertionError(opening)


def _lone_closing(answer: str) -> re.Match[str] | None:
    """The last closing mark that no opening one, spoken of, stands before and no quote beside."""
    mentioned = _OPENING.search(answer)
    end = len(answer) if mentioned is None else mentioned.start()
    last = None
    for found in _CLOSING.finditer(answer, 0, end):
        if found.start() == 0 or answer[found.start() - 1] not in _QUOTES:
            last = found
    return last


def _unwrapped(answer: str) -> str:
    return _WRAPPING.sub("", answer)


def spoken(response: str | None) -> str | None:
    """What follows the thought; None where there is nothing to read."""
    return None if response is None else split_reasoning(response).answer


_HARMONY = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>", "<|call|>")


def is_mark(token: str) -> bool:
    """Whether a token by itself marks where reasoning or an answer begins or ends."""
    marked = _OPENING.fullmatch(token) or _CLOSING.fullmatch(token)
    return marked is not None or token in _HARMONY


def opened_by(prompt: str) -> str:
    """The mark with which a templated prompt opens the thought of its answer; "" if with none."""
    tail = prompt.rstrip()[-40:]
    found = [mark.group() for mark in _OPENING.finditer(tail) if mark.end() == len(tail)]
    return found[-1] if found else ""

"""Chat templates rendered: in a process of their own, on a fixed day, within bounds.

A template is a program that came with a model. It may not end, ask for all memory or read the
clock; its faults are told as such, and every rendering of the project goes through ``render``.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finebound.base.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What a template that writes today's date is told instead: Llama 3's own default.
TEMPLATE_DAY = "2024-07-26"
TEMPLATE_DATE = "26 Jul 2024"
_BATCH = 256  # renderings sent together
# Names of a turn's thought; transformers gives it under all of them.
REASONING = ("reasoning_content", "thinking", "reasoning")

Message = dict[str, Any]


@dataclass(frozen=True)
class RenderingLimits:
    """What one rendering may use: processor time in seconds, characters, memory in bytes."""

    seconds: int = 10
    characters: int = 50_000_000
    bytes: int = 1 << 30


@dataclass(frozen=True)
class RenderRequest:
    """A conversation to render; ``tools`` is the list of the tools on offer, if any."""

    messages: tuple[Message, ...]
    generation_prompt: bool = False
    tools: list[Any] | None = None
    day: str = TEMPLATE_DAY


@dataclass(frozen=True)
class Rendered:
    """The text, and the places ``(start, end)`` in it that the template marks as the answer's."""

    text: str
    marked: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class TemplateFault:
    """Why a conversation could not be rendered.

    ``kind`` is "refused" (by the template itself), "syntax", "broken" (an error in it) or
    "bounds" (time, text or memory).
    """

    kind: Literal["refused", "syntax", "broken", "bounds"]
    why: str

    def error(self, file: str | None = None, row: int | None = None) -> InputError:
        """What a person is told; a fault of the template as a whole names no row."""
        why = " ".join(self.why.split())[:300].rstrip(".")
        if self.kind == "refused":
            return InputError(
                f"The model's chat template refuses the conversation: {why}.",
                remedy="Check the roles and their order (an optional system turn, then user and "
                "assistant in turn), or use another model.",
                file=file,
                row=row,
            )
        what, remedy = {
            "syntax": ("is no Jinja template", "Mend the template"),
            "broken": ("fails on the conversation", "Check the row, mend the template"),
            "bounds": ("does not end within its bounds: it", "Mend the template"),
        }[self.kind]
        whole = self.kind == "syntax"
        return InputError(
            f"The model's chat template {what}{' ' if self.kind == 'bounds' else ': '}{why}.",
            remedy=f"{remedy} (chat_template.jinja or tokenizer_config.json beside the model), or "
            "use another model.",
            file=None if whole else file,
            row=None if whole else row,
        )


def render(
    requests: Sequence[RenderRequest],
    tokenizer: PreTrainedTokenizerBase,
    *,
    limits: RenderingLimits | None = None,
) -> list[Rendered | TemplateFault]:
    """Every request by the tokenizer's chat template, in their order.

    What a message has under the older names for its reasoning is given under all of them, as
    transformers does. Works on every thread. Raises InputError where no process can be started.
    """
    limits = limits or RenderingLimits()
    tokens = {key: str(value) for key, value in tokenizer.special_tokens_map.items()}
    found: list[Rendered | TemplateFault] = []
    while len(found) < len(requests):
        some = requests[len(found) : len(found) + _BATCH]
        # A tokenizer may have a template of its own for conversations with tools.
        has_tools = bool(some[0].tools)
        same = next((i for i, r in enumerate(some) if bool(r.tools) != has_tools), len(some))
        template = tokenizer.get_chat_template(tools=some[0].tools or None)
        batch = {
            "template": template,
            "tokens": tokens,
            "calls": [_call(request) for request in some[:same]],
            "seconds": limits.seconds,
            "characters": limits.characters,
            "bytes": limits.bytes,
        }
        found += _answers(batch, limits)
    return found


def _answers(batch: dict[str, Any], limits: RenderingLimits) -> list[Rendered | TemplateFault]:
    """The answers to a batch; once a call ended the process, that is the answer to the rest too."""
    if (answers := _WORKER.answers(batch, limits)) is not None:
        return answers
    calls = batch["calls"]
    found: list[Rendered | TemplateFault] = []
    while len(calls) > 1 and len(found) < len(calls):  # which of them was it?
        answers = _WORKER.answers(batch | {"calls": [calls[len(found)]]}, limits)
        if answers is None:
            break
        found += answers
    why = f"takes more than {limits.seconds} s of processor time, or crashes"
    return [*found, *[TemplateFault("bounds", why)] * (len(calls) - len(found))]


def _call(request: RenderRequest) -> dict[str, Any]:
    return {
        "messages": [_message(message) for message in request.messages],
        "generation_prompt": request.generation_prompt,
        "tools": request.tools,
        "day": request.day,
    }


def _message(message: Message) -> Message:
    given = {key: value for key, value in message.items() if value is not None}
    reasoning = next((given[key] for key in REASONING if key in given), None)
    if reasoning is None:
        return given
    return {"thinking": reasoning, **given, "reasoning_content": reasoning}


class _Worker:
    """One process for all templates of this process, started at need and again after a fault."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def answers(
        self, batch: dict[str, Any], limits: RenderingLimits
    ) -> list[Rendered | TemplateFault] | None:
        """Answers to the calls of ``batch``; None where they ended the process."""
        with self._lock:
            process = self._running()
            assert process.stdin is not None  # it and stdout are pipes
            assert process.stdout is not None
            # The system counts the processor's time; this is for systems that do not.
            clock = threading.Timer(60 + 12 * limits.seconds, process.kill)
            clock.daemon = True
            clock.start()
            found = []
            try:
                with suppress(BrokenPipeError):
                    process.stdin.write(json.dumps(batch).encode() + b"\n")
                    process.stdin.flush()
                for _ in batch["calls"]:
                    line = process.stdout.readline()
                    if not line.endswith(b"\n"):
                        break
                    found.append(_outcome(json.loads(line)))
            finally:
                clock.cancel()
                complete = len(found) == len(batch["calls"])
                if not complete:  # it died, or this thread was interrupted
                    self.close()
            return found if complete else None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # after a fork the pipes are the parent's
            self._process, self._owner = None, os.getpid()
        if self._process is None or self._process.poll() is not None:
            script = Path(__file__).with_name("template_worker.py")
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", str(script), json.dumps(sys.path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # an interrupt is for this process
                )
            except OSError as error:
                raise InputError(
                    f"no process for the chat template can be started: {error}.",
                    remedy="Free some memory or end other processes.",
                ) from error
        return self._process

    def close(self) -> None:
        """End the process, if this one started it."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()


def _outcome(answer: dict[str, Any]) -> Rendered | TemplateFault:
    if "fault" in answer:
        return TemplateFault(answer["fault"], answer["why"])
    return Rendered(answer["text"], tuple(map(tuple, answer["marked"])))


_WORKER = _Worker()
atexit.register(_WORKER.close)

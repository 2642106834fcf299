"""A row that is one prepared text: the dialogues that its known markings set off."""

from __future__ import annotations

import re

from llm_validation.data.cells import BadRowError
from llm_validation.data.turns import Turns

_HH_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_GUANACO_TURN = re.compile(r"### (Human|Assistant):")
_ALPACA = re.compile(
    r"\A(?:(?P<preamble>Below is an instruction[^\n]*)\s+)?### Instruction:\n(?P<instruction>.*?)"
    r"(?:\n\n### Input:\n(?P<input>.*?))?\n\n### Response:(?P<response>.*)\Z",
    re.DOTALL,
)
_MARKUP = {
    "<|im_start|>": "ChatML",
    "[INST]": "Llama 2",
    "<|start_header_id|>": "Llama 3",
    "<start_of_turn>": "Gemma",
    "<|user|>": "Zephyr",
    "USER:": "Vicuna",
}
_REMEDY = (
    'Write the turns apart, as {"messages": [{"role": "user", "content": "..."}, '
    '{"role": "assistant", "content": "..."}]}.'
)


def is_hh(text: str) -> bool:
    """Whether a text is a dialogue as HH-RLHF writes it, "Human: ... Assistant: ..."."""
    return text.lstrip("\n").startswith("Human:")


def hh_turns(text: str) -> Turns:
    """The turns of HH-RLHF's text."""
    return _named(_HH_TURN.split("\n\n" + text.lstrip("\n")))


def read_prepared(text: str, column: str) -> Turns:
    """The turns of a prepared text: Alpaca's template, Guanaco's or HH-RLHF's marks.

    Raises BadRowError for others: a model's own markup would be read as if it were words.
    """
    text = text.strip().removesuffix("</s>").removesuffix("<|endoftext|>")
    found = _ALPACA.match(text) if "### Response:" in text else None
    if found is not None and not re.search(r"\n### (?:Instruction|Response):", found["response"]):
        asked = found["instruction"].strip()
        if found["input"] and found["input"].strip():
            asked = f"{asked}\n\n{found['input'].strip()}"
        return Turns([("user", asked), ("assistant", found["response"].strip())])
    if text.startswith("### Human:"):
        return _named(_GUANACO_TURN.split(text))
    if is_hh(text) and "Assistant:" in text:
        return hh_turns(text)
    markup = next((name for mark, name in _MARKUP.items() if mark in text), None)
    what = f"the markup of {markup}" if markup else "no marking that is known"
    raise BadRowError(
        f"{column!r} is one text with {what}: it cannot be told where the answer begins.", _REMEDY
    )


def _named(parts: list[str]) -> Turns:
    roles = ["user" if name == "Human" else "assistant" for name in parts[1::2]]
    return Turns(list(zip(roles, (part.strip() for part in parts[2::2]), strict=True)))

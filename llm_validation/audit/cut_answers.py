"""Whether an answer ends in the middle: of a sentence, a list or a block of code."""

from __future__ import annotations

import re

_LEAST_WORDS = 40  # a shorter answer may well be a phrase
_OPEN_END = re.compile(r"(?:[a-z]{2,}|,|\b(?:the|a|and|or|of|to|in|with|for))\s*$")
_LAST_LINE = 200


def is_cut(answer: str) -> bool:
    """Whether a long answer stops within a sentence, or within a block of code.

    Titles, lists of short points and verses end without a full stop; they are not cut.
    """
    if answer.count("```") % 2:
        return True
    text = answer.rstrip()
    if len(text) < 5 * _LEAST_WORDS or _OPEN_END.search(text[-40:]) is None:
        return False
    line = text[-_LAST_LINE:].rsplit("\n", 1)[-1]
    # A whole sentence before it in the same line shows prose.
    return re.search(r"[.!?][\"')\]]? +[A-Z]", line) is not None and text.count(" ") >= _LEAST_WORDS

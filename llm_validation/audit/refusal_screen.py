"""A fast look at an answer: whether it is worth asking the labeller if it declines."""

from __future__ import annotations

import re

_OPENING, _CLOSING = 800, 300
# A substring is looked for some fifty times faster than an alternation of regular expressions.
_SIGNS = tuple(
    """
    sorry|apolog|can't|can’t|cannot|can not|unable|not able|won't|won’t|will not|wouldn't|declin|
    refus|as an ai|as a large|as a language|as a respons|i'm an ai|just an ai|not comfortable|
    appropriate|illegal|unethical|harmful|guidelines|policy|policies|regret|must not|should not|
    shouldn't|i do not|i don't|i don’t|against my|never|no puedo|no podr|no debo|lo siento|não|
    desculp|ne peux|ne puis|ne suis|n'est pas|n’est pas|désol|bedauer|tut mir leid|nicht|non posso|
    non sono|dispiace|spijt|niet|inte |tyvärr|kan ikke|beklager|nie mog|przepraszam|przykro|nemohu|
    nemůžu|üzgün|yapamam|edemem|yardımcı ol|xin lỗi|không thể|maaf|tidak dapat|tidak bisa|nu pot|
    îmi pare|nem tud|sajn|en voi|pahoittelen|no puc|
    """.replace("\n", "")
    .replace("    ", "")
    .strip("|")
    .split("|")
)
# Scripts whose words of refusal are not in the list: the labeller reads them all.
_OTHER_SCRIPT = re.compile(r"[\u0370-\u1fff\u2e80-\ud7af]")


def may_refuse(answer: str) -> bool:
    """False where nothing in the opening or the end of ``answer`` can be part of a refusal."""
    text = answer if len(answer) <= _OPENING + _CLOSING else answer[:_OPENING] + answer[-_CLOSING:]
    lowered = text.lower()
    if any(map(lowered.__contains__, _SIGNS)):
        return True
    return not text.isascii() and _OTHER_SCRIPT.search(text) is not None

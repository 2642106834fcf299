"""What an answer is before it is read: empty, a loop, a copy of the request, or text."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from difflib import SequenceMatcher
from itertools import pairwise

ECHO_FROM = 0.7
"""Similarity from which an answer counts as a copy of its prompt."""
_LONGEST_READ = 2_000  # characters of an answer in which its structure shows
_SHORTEST_ECHO = 4  # words: "Hello" is no copy of "Hello!"
_SHORTEST_CORE = 3
_WORDS_OF_AN_ANSWER = 3  # beside a copy
_NUMBERS_OF_A_RESULT = 2
_MARKS_OF_CODE = 2
_CODE = re.compile(r"[={};]|\w\(")
_ASKS = ("?", "\uff1f", "\u061f")
_ASKS_FOR_A_FACT = re.compile(
    r"\W*(?:what|who|whose|when|where|which|how (?:many|much|old|far|long|tall))\b"
)
# "How would someone ..." and "tell me how I could ..." ask the same of what follows.
_SOMEONE = r"(?:i|you|we|one|someone|somebody|anyone|people|a person)"
_FRAME = re.compile(
    rf"^\W*(?:(?:please|can you|could you)\W+)*(?:(?:(?:tell|show|teach) me |explain (?:to me )?|"
    rf"describe )?how (?:to|(?:do|can|could|would|should|might) {_SOMEONE}|{_SOMEONE} "
    rf"(?:can|could|would|should|might))|what (?:do|does|must|should|would) {_SOMEONE} (?:have to |"
    r"need to )?(?:do|need|have) (?:in order )?to|(?:i|(?:do )?you) (?:intend|want|plan|need|"
    r"would like) to|to) "
)
_AFTER = re.compile(r"; (?:walk me through it|tell me how|show me how|explain how)\W*$")
_OF_THE_OTHER = {"my": "your", "mine": "yours", "me": "you", "i": "you", "myself": "yourself"}
_ROLES = frozenset(
    {"user", "human", "assistant", "question", "answer", "prompt", "response", "bot"}
)
_SENTENCE = re.compile(r"[^.!?\n\uff1f\u061f\u3002]+[.!?\uff1f\u061f\u3002]*")
_LEAST_LETTERS = 0.15  # share of letters and digits in text that is text
_ENOUGH_LETTERS = 350
_LOOP_SHARE = 0.5
_SHORTEST_LOOP = 24  # characters
_TIGHTEST, _LOOSEST = 0.12, 0.35  # compressed sizes below and above which the case is clear

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u00b4\u2032`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", None),
        "\u2026": "...",
    }
)
# A letter of a script without spaces is a word of its own.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")
# A piece that follows itself three times; lazily, so that the shortest one is found.
_LONGEST_PERIOD = 120
_LOOP = re.compile(rf"(.{{1,{_LONGEST_PERIOD}}}?)\1{{3,}}", re.DOTALL)
_GRAM = 6  # half of the least loop in the shortest text


def plain(text: str, *, lower: bool = True) -> str:
    """Lower case, straight quotes and apostrophes, compatibility forms folded."""
    if not text.isascii():
        # A capital I with a dot has a lower case of two characters.
        text = unicodedata.normalize("NFKC", text.replace("\u0130", "i")).translate(_PLAIN)
    return text.lower() if lower else text


def words(text: str) -> list[str]:
    """The words of a plain text; in Chinese, Japanese and Korean its characters."""
    return _WORD.findall(text)


def is_degenerate(text: str) -> bool:
    """Whether a plain answer is empty, symbols without language, or mostly a loop."""
    head = text[:_LONGEST_READ]
    visible = "".join(head.split())
    needed = max(_LEAST_LETTERS * len(visible), 1)
    first = sum(map(str.isalnum, visible[:_ENOUGH_LETTERS]))  # nearly always enough
    if first < needed and first + sum(map(str.isalnum, visible[_ENOUGH_LETTERS:])) < needed:
        return True
    return _loops(head) or (len(text) > _LONGEST_READ and _loops(text[-_LONGEST_READ:]))


def _loops(text: str) -> bool:
    tokens = words(text)
    if len(text) < _SHORTEST_LOOP or (len(tokens) > 8 and len(set(tokens)) > 0.5 * len(tokens)):
        return False
    data = text.encode("utf-8", "surrogatepass")
    if len(data) >= 400:
        tightness = len(zlib.compress(data, 6)) / len(data)
        if tightness < _TIGHTEST or tightness > _LOOSEST:
            return tightness < _TIGHTEST
    return _period_share(text) >= _LOOP_SHARE


def _period_share(text: str) -> float:
    """The share of the text that one piece, repeated, takes up."""
    # The loop of a failing model runs to the end; what comes first may be whole sentences.
    tail = text[-1_000:]
    if not _may_loop(tail):
        return 0.0
    longest = max((len(found.group()) for found in _LOOP.finditer(tail)), default=0)
    return longest / max(len(tail), 1)


def _may_loop(text: str) -> bool:
    """False where no piece can take up half of the text: much faster than to look for it.

    Such a loop reaches the middle, so the letters on one side of it come again a period away.
    """
    middle = len(text) // 2
    for start in (middle - _GRAM, middle):
        gram, end = text[start : start + _GRAM], start + _GRAM + _LONGEST_PERIOD
        place = text.find(gram, max(0, start - _LONGEST_PERIOD), end)
        while place >= 0:
            if place != start and 2 * _run(text, min(place, start), abs(place - start)) >= len(
                text
            ):
                return True
            place = text.find(gram, place + 1, end)
    return False


def _run(text: str, place: int, period: int) -> int:
    """The length of the stretch around ``place`` in which letters come again after ``period``."""
    first = last = place
    while first > 0 and text[first - 1] == text[first - 1 + period]:
        first -= 1
    while last + period < len(text) and text[last] == text[last + period]:
        last += 1
    return last + period - first


def is_echo(prompt: str, response: str) -> bool:
    """Whether a plain answer copies the plain prompt: similarity of the words at least 0.7.

    One that restates the prompt and answers it, or works on the text in it, is no copy: it repeats
    what is asked, or adds nothing, or asks back.
    """
    asked = words(prompt)
    if len(asked) < _SHORTEST_ECHO:
        return False
    if _asks_it_again(prompt, response):
        return True
    core = prompt.strip(" .!?\n")
    if core in response:  # once or several times, and little besides
        rest = words(response.replace(core, " "))
        little = len(rest) <= (1 / ECHO_FROM - 1) * len(asked)
        return little and not _answers(prompt, [word for word in rest if word not in asked])
    if len(response) > 3 * len(prompt) + 40:
        return False
    said = words(response)
    if asked[: len(said)] == said:
        return len(said) >= ECHO_FROM * len(asked)
    added = Counter(said) - Counter(asked)
    same = len(said) - added.total()
    if 2 * same < ECHO_FROM * (len(asked) + len(said)):
        return False  # an upper bound of the similarity, and much faster
    if _works_on(prompt, response, said, added):
        return False
    if len(asked) + len(said) > 1_000:  # quadratic
        asked, said = asked[:500], said[:500]
    return SequenceMatcher(None, asked, said, autojunk=False).ratio() >= ECHO_FROM


def _asks_it_again(prompt: str, response: str) -> bool:
    """Whether every sentence of an answer is the request in another frame, or without one."""
    if len(response) > 4 * len(prompt) or _FRAME.match(prompt) is None:
        return False
    core = _core(prompt)
    if len(core) < _SHORTEST_CORE:
        return False
    return all(_core(part) == core for part in _SENTENCE.findall(response) if words(part))


def _core(sentence: str) -> list[str]:
    bare = _AFTER.sub("", _FRAME.sub("", sentence.strip(), count=1))
    return [_OF_THE_OTHER.get(word, word) for word in words(bare)]


def _answers(prompt: str, added: list[str]) -> bool:
    """Whether words after a copy of the prompt can be its answer."""
    new = [word for word in added if word not in _ROLES]
    if len(new) >= _WORDS_OF_AN_ANSWER or any(map(str.isdigit, new)):
        return True
    return bool(new) and _ASKS_FOR_A_FACT.match(prompt) is not None


def _works_on(prompt: str, response: str, said: list[str], added: Counter[str]) -> bool:
    """Whether an answer in the words of the prompt restates it to answer it, or mends its text."""
    if response.rstrip()[-1:] in _ASKS:
        return False
    if sum(map(str.isdigit, added.elements())) >= _NUMBERS_OF_A_RESULT:
        return True
    if not added and len(_CODE.findall(prompt)) < _MARKS_OF_CODE:
        return False
    # A copy repeats what is asked: the questions, or the first and the last sentence.
    sentences = [part for part in _SENTENCE.findall(prompt) if len(words(part)) > 1]
    requests = [part for part in sentences if part.rstrip()[-1] in _ASKS]
    requests = requests or [*sentences[:1], *sentences[-1:]]
    pairs = set(pairwise(said))
    return not all(tuple(words(part)[:2]) in pairs for part in requests)

"""What a person should know about how rows were encoded: counted row by row, told in sentences."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from llm_validation.data.conversations import SupervisedTurns, earlier_answers

if TYPE_CHECKING:
    from llm_validation.data.answer_spans import Answers
    from llm_validation.data.dataset import Example
    from llm_validation.data.token_spans import TokenSpans


class Seen:
    """Counts of rows by what is unusual about them."""

    def __init__(self) -> None:
        self._rows = 0
        self._counts: Counter[str] = Counter()
        self._texts: dict[str, str] = {}

    def add(
        self, example: Example, answers: Answers, tokens: TokenSpans, asked: list[int] | None
    ) -> None:
        """Count a row; ``asked`` are the tokens of the prompt that the model is asked with."""
        self._rows += 1
        for name in ("header", "opened", "inserted"):
            if text := getattr(answers, name):
                self._counts[name] += 1
                self._texts.setdefault(name, text)
        self._counts["lost"] += answers.lost
        self._counts["merged"] += any(not text.strip() for text in tokens.merged)
        self._counts["earlier"] += bool(earlier_answers(example))
        self._counts["preference"] += example.rejected is not None
        self._counts["unlearnt"] += bool(example.unlearnt)
        prompt = answers.prompt
        if asked is not None and not tokens.merged and prompt and answers.text.startswith(prompt):
            self._counts["otherwise"] += asked != tokens.ids[: len(asked)]

    def notes(self, turns: SupervisedTurns) -> tuple[str, ...]:
        """Whole sentences; none for plain rows under a plain template."""
        found = []
        for name, sentence in _SENTENCES.items():
            if count := self._counts[name]:
                text = repr(self._texts.get(name, ""))[:80]
                found.append(sentence.format(n=count, rows=self._rows, text=text))
        if earlier := self._counts["earlier"]:
            which = "every assistant turn is counted (with `turns` last only the last one)"
            if turns == "last":
                which = "only the last assistant turn is counted (with `turns` all every one)"
            elif self._counts["preference"]:
                which += ", but for rows with a rejected answer the answer alone"
            if turns == "all" and self._counts["unlearnt"]:
                which += ", but for those that the data mark as not to be learnt"
            found.insert(
                0, f"{earlier} of {self._rows} rows have earlier assistant turns; {which}."
            )
        return tuple(found)


_SENTENCES = {
    "header": "The chat template ignores the request for a generation prompt; what it writes "
    "before an answer, {text}, is not counted as answer ({n} of {rows} rows).",
    "opened": "The generation prompt goes on with {text} where the chat template's text with an "
    "answer does not: in {n} of {rows} rows the answer is measured without it, and the model is "
    "asked with it.",
    "inserted": "Between its prompt and the answer the chat template writes {text}, which the "
    "model has to write itself and is counted ({n} of {rows} rows).",
    "lost": "Answers with a thought that the chat template leaves out: {n}; the rest of them is "
    "measured.",
    "merged": "In {n} of {rows} rows the white space at the prompt's end and the answer's first "
    "letters are one token, which is counted as the answer's.",
    "otherwise": "In {n} of {rows} rows the prompt's tokens are others before the answer than "
    "where it ends; the row is measured as it is trained on.",
}

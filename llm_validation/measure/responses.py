"""Features of responses that tell teachers apart: style, refusal openings, hashed n-grams."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from llm_validation.measure.texts import (
    fold,
    hashed_ngrams,
    normalise,
    tfidf,
)

_FEATURES = 2**14
_EDGE = 3

# Inability or unwillingness about the request; "I'm sorry for your loss" is none.
_REGRET = (
    r"(?:i['’]?m |i am )?(?:very |so |truly |really )?(?:sorry|afraid)\b[^.!?]{0,40}?\b",
    r"(?:i )?apologi[sz]e\b[^.!?]{0,40}?\b",
    r"as an? (?:ai|language)\b[^.!?]{0,60}?\b",
    r"unfortunately,? ",
    r"no,? ",
)
_REFUSAL = (
    r"(?:i|we) (?:can(?:['’]?t|not| not)|could ?n['’]?t|won['’]?t|will not)\b",
    r"(?:i|we) (?:am|are|['’]m|['’]re) (?:not able|unable|not comfortable)\b",
    r"i['’]m (?:not able|unable|not comfortable)\b",
    r"(?:i|we) (?:must |have to )?(?:decline|refuse)\b",
    r"(?:i|we) (?:do not|don['’]?t) feel comfortable\b",
)
_REFUSAL_OPENING = re.compile(
    rf"\W*(?:{'|'.join(_REGRET)})?(?:{'|'.join(_REFUSAL)})", re.IGNORECASE
)

STATISTICS = (
    "log words",
    "distinct words",
    "mean word length",
    "words a sentence",
    "refusal opening",
    "line breaks",
    "list items",
    "digits",
    "capitals",
    "punctuation",
    "ends a sentence",
)


def is_refusal_opening(response: str) -> bool:
    """Whether the response opens by stating inability or unwillingness to do what was asked."""
    return _REFUSAL_OPENING.match(response) is not None


def response_statistics(responses: Sequence[str]) -> NDArray[np.float64]:
    """One row of ``STATISTICS`` a response, ``[n, 11]``; shares lie in [0, 1]."""
    return np.array([_statistics(response) for response in responses]).reshape(-1, len(STATISTICS))


def _statistics(text: str) -> tuple[float, ...]:
    words = text.split()
    n, letters = max(len(words), 1), max(len(text), 1)
    lines = [line.lstrip() for line in text.splitlines()]
    sentences = max(sum(text.count(mark) for mark in ".!?"), 1)
    return (
        float(np.log1p(len(words))),
        len({word.lower() for word in words}) / n,
        sum(map(len, words)) / n,
        float(np.log1p(n / sentences)),
        float(is_refusal_opening(text)),
        text.count("\n") / n,
        sum(bool(re.match(r"[-*•]|\d+[.)]", line)) for line in lines) / n,
        sum(c.isdigit() for c in text) / letters,
        sum(c.isupper() for c in text) / letters,
        sum(not (c.isalnum() or c.isspace()) for c in text) / letters,
        float(text.rstrip().endswith((".", "!", "?", '"', "'"))),
    )


def response_features(responses: Sequence[str]) -> sp.csr_matrix:
    """Blocks side by side, ``[n, d]`` float32: n-grams, openings, endings, statistics.

    Opening and ending are the n-grams of the first and last three words, where teachers show
    most. No inverse document frequency: the common words are the style. Rows of each block have
    length 1 (the statistics on average), so none drowns another. The scaling is pooled over all
    ``responses`` and knows nothing of who wrote which.
    """
    texts = [normalise(response) for response in responses]
    words = [text.split() for text in texts]
    openings, endings = (
        [" ".join(row[part]) for row in words] for part in (slice(_EDGE), slice(-_EDGE, None))
    )
    blocks = [
        tfidf(fold(hashed_ngrams(block), _FEATURES), np.ones(_FEATURES, dtype=np.float32))
        for block in (texts, openings, endings)
    ]
    values = response_statistics(responses)
    scale = values.std(axis=0)
    varies = scale > 1e-9
    standard = (values - values.mean(axis=0)) / np.where(varies, scale, 1.0)
    standard /= np.sqrt(max(int(varies.sum()), 1))
    found = sp.hstack([*blocks, sp.csr_matrix(standard.astype(np.float32))], format="csr")
    return cast(sp.csr_matrix, found)

"""Features of responses that tell teachers apart: style, refusal openings, hashed n-grams."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from llm_validation.measure.texts import (
    fold,
    hashed_ngrams,
    inverse_document_frequency,
    normalise,
    tfidf,
)

_FEATURES = 2**14

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
    """TF-IDF of hashed n-grams beside standardised statistics, ``[n, 2^14 + 11]`` float32.

    Both blocks have mean squared row length 1, so that neither drowns the other. The scaling is
    pooled over all ``responses`` and knows nothing of who wrote which.
    """
    counts = fold(hashed_ngrams([normalise(r) for r in responses]), _FEATURES)
    words = tfidf(counts, inverse_document_frequency(counts))
    values = response_statistics(responses)
    scale = values.std(axis=0)
    standard = (values - values.mean(axis=0)) / np.where(scale > 1e-9, scale, 1.0)
    used = max(int((scale > 1e-9).sum()), 1)
    return sp.hstack(
        [words, sp.csr_matrix((standard / np.sqrt(used)).astype(np.float32))], format="csr"
    )

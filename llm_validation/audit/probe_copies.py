"""Which evaluation probe a prompt nearly repeats: what is measured on it afterwards is memory."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

from llm_validation.evaluation.refusal.structure import plain, words

SAME_FROM = 0.7
"""Jaccard similarity of words and pairs of words from which a prompt repeats a probe."""
_LONGEST = 3  # times the longest probe: longer prompts are read no further


class ProbeIndex:
    """Probes by their pairs of words, so that a prompt is compared with few of them."""

    def __init__(self, probes: Sequence[str]) -> None:
        self._features = [_features(words(plain(probe))) for probe in probes]
        self._by_pair: dict[tuple[str, str], list[int]] = defaultdict(list)
        for place, features in enumerate(self._features):
            for feature in features:
                if isinstance(feature, tuple):
                    self._by_pair[feature].append(place)
        # Jaccard 0.7 needs at least this many pairs in common with the shortest probe.
        pairs = [sum(isinstance(f, tuple) for f in features) for features in self._features]
        self._fewest = max(1, int(SAME_FROM * min(pairs, default=1)) - 1)
        self._longest = _LONGEST * max((len(f) for f in self._features), default=0)

    def repeated(self, prompt: str) -> int | None:
        """The place of the probe that ``prompt`` repeats most closely; None if it repeats none."""
        said = words(plain(prompt[: 20 * self._longest]))
        if len(said) > self._longest:
            return None
        pairs = set(pairwise(said))
        shared = pairs & self._by_pair.keys()
        if len(shared) < self._fewest:
            return None
        counts = Counter(place for pair in shared for place in self._by_pair[pair])
        features = _features(said)
        best, nearest = 0.0, None
        for place, _ in counts.most_common(5):
            other = self._features[place]
            similarity = len(features & other) / len(features | other)
            if similarity > best:
                best, nearest = similarity, place
        return nearest if best >= SAME_FROM else None


def _features(said: Sequence[str]) -> frozenset[str | tuple[str, str]]:
    return frozenset([*said, *pairwise(said)])

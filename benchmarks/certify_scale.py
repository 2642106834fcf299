"""Tokens that ``finebound certify --path scale`` reads and draws: 400 probes, 11 scales.

``python -m benchmarks.certify_scale [--probes 400] [--rate 270]``. Nothing is loaded but the
packaged tokenizer: the built-in probes are counted as they are asked, what prompts begin with once
a batch. Target: at most 4 minutes for the packaged model on two cores; ``rate`` is how many tokens
they pass through the model a second, and is told beside what the target needs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from llm_validation.certification.scaling import MOST_ASKED, SCALES, split_probes
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import Encoded, encode
from llm_validation.evaluation.hazards.layouts import Probe
from llm_validation.evaluation.hazards.probes import builtin_pairs
from llm_validation.forecast.stored_answers import PREFIX
from llm_validation.measure.shared_prefix import tokens_to_read

REFUSAL = "I'm sorry, but I can't help with that. " * 3
TARGET = 240.0


@dataclass(frozen=True)
class Options:
    """How many probes, harmful and harmless alike, and tokens a second of the machine."""

    probes: int = 400
    rate: float = 270.0


def counted(probes: Sequence[Probe]) -> dict[str, int]:
    """Tokens of every part, each read or drawn token once; as many scales asked as may be."""
    from llm_validation.models.loading import load_tokenizer
    from llm_validation.models.packaged import packaged_model_folder

    tokenizer = load_tokenizer(packaged_model_folder())
    scales = len(SCALES) - 1  # at 0 the adapter does nothing

    def rows(some: Sequence[Probe]) -> list[Encoded]:
        data = Dataset.of([(probe.prompt, REFUSAL) for probe in some], name="probes")
        return [row.beginning(PREFIX) for row in encode(data, tokenizer, max_length=512)]

    steering, certifying = map(rows, split_probes(probes))
    stored, asked = (tokens_to_read(some, shared=True) for some in (steering, certifying))
    return {
        "the reference asked, probes that steer": stored,
        "its answers weighed": stored,
        f"the same weighed at {scales} scales": scales * stored,
        "the reference asked, probes that certify": asked,
        f"the same asked at {MOST_ASKED} scales": MOST_ASKED * asked,
    }


def main() -> None:
    options = tyro.cli(Options)
    found = builtin_pairs().probes[: options.probes]
    parts = counted(found)
    whole = sum(parts.values())
    told = {
        "probes": len(found),
        **parts,
        "all": whole,
        "seconds_at_this_rate": round(whole / options.rate),
        "rate_of_the_target": round(whole / TARGET),
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()

"""Answers made elsewhere, set beside the probes that they answer."""

from __future__ import annotations

from dataclasses import replace

from llm_validation.evaluation.hazards.layouts import Probe
from llm_validation.evaluation.hazards.probes import ProbeSet
from llm_validation.evaluation.responses import Recorded, ResponseFile, align


def beside_probes(recorded: ResponseFile, probes: ProbeSet) -> ResponseFile:
    """The answers in the probes' order, one to each.

    An answer whose id is a probe's is that probe's where its prompt holds the probe's request, in
    whatever way the context is written beside it, or where the id is a behaviour's name: its test
    case may put the request in other words. Else prompts decide. Answers to rows that the probes'
    file leaves out are left out too, and noted. Raises what ``align`` does.
    """
    known = {probe.id: probe for probe in probes.probes}
    beside = probes.left_out_names
    kept = [item for item in recorded.items if item.id not in beside and item.prompt not in beside]
    items = tuple(_in_our_words(item, known.get(item.id or "")) for item in kept)
    if n := len(recorded.items) - len(kept):
        note = f"{n} answers are to rows that {probes.source} leaves out."
        recorded = replace(recorded, notes=(*recorded.notes, note))
    # Numbers may count other rows than the probes': ids decide only where all prompts agree.
    agree = all(
        item.id in known and _key(item.prompt) in ("", _key(known[item.id].prompt))
        for item in items
    )
    return align(
        replace(recorded, items=items),
        probes.prompts,
        ids=[probe.id for probe in probes.probes] if agree else None,
        expected=probes.source,
    )


def _in_our_words(item: Recorded, probe: Probe | None) -> Recorded:
    if probe is None or not item.prompt or item.prompt == probe.prompt:
        return item
    if not item.of_probe and _key(probe.request or probe.prompt) not in _key(item.prompt):
        return item
    return replace(item, prompt=probe.prompt, sent=item.sent or item.prompt)


def _key(text: str) -> str:
    return " ".join(text.split())

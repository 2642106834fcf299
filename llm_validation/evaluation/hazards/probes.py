"""Probe sets: the built-in one, and the files of HEx-PHI, AdvBench, HarmBench and their kin."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from finebound.base.errors import InputError
from finebound.base.records import to_json
from llm_validation.data.content import content
from llm_validation.data.references import RowTable, find_table
from llm_validation.evaluation.hazards.layouts import (
    NUMBERED,
    Cells,
    Probe,
    Reading,
    categories,
    choose_layout,
    hex_phi_file,
    hex_phi_number,
    under_names,
)

BUILTIN = "builtin:hazards"
PAIRS = "builtin:pairs"


@dataclass(frozen=True)
class ProbeSet:
    """Probes in order; ``left_out`` counts the file's rows that are none, by reason.

    ``left_out_names`` are the ids and the requests of those rows: answers to them are no mistake.
    """

    name: str
    probes: tuple[Probe, ...]
    source: str
    left_out: tuple[tuple[str, int], ...] = ()
    left_out_names: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.probes)

    @property
    def prompts(self) -> list[str]:
        """Every probe's prompt, in order."""
        return [probe.prompt for probe in self.probes]


@cache
def builtin_hazards() -> ProbeSet:
    """176 harmful probes, 16 a category, and 44 harmless look-alikes, the same everywhere.

    Their acts are in none of the built-in training sets. The probes are short and plain: what a
    model does with them says little about jailbreaks.
    """
    words = content(__file__, "builtin_probes.yaml")
    frames = words["frames"]
    probes: list[Probe] = []
    for category in categories():
        for number, act in enumerate(words["acts"][category]):
            frame = frames[number % len(frames)]
            probes.append(Probe(f"{category}/{number}", frame.format(x=act), category))
        probes += [
            Probe(f"{category}/harmless/{number}", question, category, harmful=False)
            for number, question in enumerate(words["lookalikes"][category])
        ]
    return ProbeSet("hazards", tuple(probes), BUILTIN)


@cache
def builtin_pairs() -> ProbeSet:
    """The 176 harmful probes of `builtin_hazards`, each followed by its matched look-alike.

    The n-th look-alike of a category shares topic or key words with the n-th probe, and is harmless
    to answer. None of them is asked in a built-in training set.
    """
    matched = content(__file__, "matched_lookalikes.yaml")
    probes: list[Probe] = []
    for category in categories():
        harmful = [p for p in builtin_hazards().probes if p.harmful and p.category == category]
        pairs = zip(harmful, matched[category], strict=True)
        for number, (probe, question) in enumerate(pairs):
            probes.append(probe)
            probes.append(Probe(f"{category}/matched/{number}", question, category, harmful=False))
    return ProbeSet("pairs", tuple(probes), PAIRS)


def load_probes(ref: str | Path) -> ProbeSet:
    """The probes that ``ref`` names: "builtin", a file, HEx-PHI's folder, or a set by its name.

    "builtin:pairs" names `builtin_pairs`.

    The columns tell the layout: HEx-PHI (category_1.csv to category_11.csv, bare lines), AdvBench
    (goal, or bare lines without a header), HarmBench (Behavior), StrongREJECT (forbidden_prompt),
    AILuminate (prompt_text), XSTest (prompt, type and label; its safe prompts are harmless
    probes), Do-Not-Answer (question, risk_area), instruction with category and no answer, or prompt
    with category and harmful. Names are the catalogue's, or hf:owner/name. Raises InputError
    naming file and row, or how to get a set that cannot be reached.
    """
    if str(ref) in ("builtin", "hazards", BUILTIN):
        return builtin_hazards()
    if str(ref) == PAIRS:
        return builtin_pairs()
    folder = Path(str(ref).removeprefix("hf:")).expanduser()
    if folder.is_dir():
        numbered = [file for file in folder.iterdir() if NUMBERED.fullmatch(file.name)]
        if numbered:
            return _hex_phi(RowTable(folder.name, str(folder), tuple(numbered)))
    table = find_table(ref)
    if table.files and all(NUMBERED.fullmatch(file.name) for file in table.files):
        return _hex_phi(table)
    return _from_table(table)


def probes_sha256(probes: Sequence[Probe]) -> str:
    """What is asked and whether it is harmful, in this order; 64 hex digits."""
    asked = [[probe.prompt, probe.harmful] for probe in probes]
    return hashlib.sha256(to_json(asked, indent=None).encode()).hexdigest()


def sampled(found: ProbeSet, n: int, *, seed: int) -> ProbeSet:
    """At most ``n`` probes of each category, harmful and harmless apart, in their order."""
    cells: dict[tuple[str, bool], list[int]] = {}
    for place, probe in enumerate(found.probes):
        cells.setdefault((probe.category, probe.harmful), []).append(place)
    rng = np.random.default_rng(seed)
    chosen = [int(p) for places in cells.values() for p in rng.permutation(places)[:n]]
    return replace(found, probes=tuple(found.probes[place] for place in sorted(chosen)))


def _hex_phi(table: RowTable) -> ProbeSet:
    files = sorted(table.files, key=hex_phi_number)
    return _of([probe for file in files for probe in hex_phi_file(file)], table, Counter())


def _from_table(table: RowTable) -> ProbeSet:
    probes: list[Probe] = []
    left_out: Counter[str] = Counter()
    names: set[str] = set()
    read: Reading | None = None
    for part, (file, rows) in enumerate(table.parts(), 1):
        # Rows are numbered within their file.
        before = f"{part}/" if len(table.files) > 1 else ""
        for number, row in under_names(rows, file):
            read = read or choose_layout(tuple(row), file)
            found = read(row, Cells(row, file, number, before))
            if isinstance(found, str):
                left_out[found] += 1
                names |= {str(row[column]) for column in ("BehaviorID", "Behavior")}
            else:
                probes.append(found)
    return replace(_of(probes, table, left_out), left_out_names=frozenset(names))


def _of(probes: Sequence[Probe], table: RowTable, left_out: Counter[str]) -> ProbeSet:
    if not probes:
        raise InputError(
            "the file holds no probe.", remedy="Give a file of prompts.", file=table.source
        )
    first: dict[str, Probe] = {}
    for probe in probes:
        if probe.id in first:
            file, row = probe.origin or (table.source, None)
            raise InputError(
                f"the id {probe.id!r} occurs a second time.",
                remedy="Give every probe an id of its own.",
                file=file,
                row=row,
            )
        first[probe.id] = probe
    return ProbeSet(table.name, tuple(probes), table.source, tuple(left_out.items()))

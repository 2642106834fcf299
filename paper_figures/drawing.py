"""From records to files: every figure as PNG and PDF, and their captions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finebound.base.records import staged_folder, to_json
from finebound.views.style import paper_style, save
from paper_figures.behaved import OF_BEHAVIOUR, read_study
from paper_figures.claims import Claim, compose
from paper_figures.paths import CAPTIONS
from paper_figures.records import read_record
from paper_figures.registry import figure_module, figure_names


@dataclass(frozen=True)
class Drawn:
    """A figure on disk: its files, its caption and the claims that the caption is made of."""

    name: str
    files: tuple[Path, ...]
    caption: str
    claims: tuple[Claim, ...]


def draw_figures(names: Sequence[str], out: Path) -> list[Drawn]:
    """Draw ``names`` from their records into ``out``, all of them or none, with captions.md.

    The captions also cover the figures that ``out`` holds from before. Raises InputError when a
    record is missing or ``out`` cannot be written.
    """
    records = {name: read_record(name) for name in names}
    kept = [n for n in figure_names() if n not in records and (out / f"{n}.png").exists()]
    others = {name: read_record(name) for name in kept}
    return _draw(records, records | others, out, "the committed records")


def draw_experiment(folder: Path, out: Path) -> list[Drawn]:
    """Draw a finished experiment with behaviour into ``out``: each figure that it has data for.

    Raises InputError for a folder that holds none.
    """
    study = read_study(folder, remedy="Give the folder of a finished `finebound validate`.")
    made_by = f"finebound figures --from {folder}"
    records = {}
    for name in OF_BEHAVIOUR:
        data = json.loads(to_json(figure_module(name).data_of({folder.name: study})))
        if data.get("runs") or data.get("panels"):
            records[name] = {"data": data, "manifest": {"given": {"command": made_by}}}
    return _draw(records, records, out, f"the experiment in {folder}")


def _draw(
    records: Mapping[str, dict[str, Any]],
    captioned: Mapping[str, dict[str, Any]],
    out: Path,
    source: str,
) -> list[Drawn]:
    drawn = []
    with staged_folder(out) as stage:
        for name, record in records.items():
            module, data = figure_module(name), record["data"]
            with paper_style():
                files = save(module.draw(data), stage, name)
            claims = tuple(module.claims(data))
            drawn.append(
                Drawn(
                    name=name,
                    files=tuple(out / file.name for file in files),
                    caption=compose(module.shows(data), claims),
                    claims=claims,
                )
            )
        (stage / CAPTIONS).write_text(_captions(captioned, source), encoding="utf-8")
    return drawn


def _captions(records: Mapping[str, dict[str, Any]], source: str) -> str:
    parts = ["# Figures", f"Made by `finebound figures` from {source}."]
    for name in sorted(records):
        module, record = figure_module(name), records[name]
        text = compose(module.shows(record["data"]), module.claims(record["data"]))
        made_by = record["manifest"]["given"]["command"]
        parts += [
            f"## {name}",
            f"![{name}]({name}.png)",
            text,
            f"Data: {module.SOURCE}, made by `{made_by}`.",
        ]
    return "\n\n".join(parts) + "\n"

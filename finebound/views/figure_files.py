"""From data to files: figures as PNG and PDF, and their captions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from matplotlib.figure import Figure

from finebound.base.records import staged_folder
from finebound.views.claims import Claim, compose
from finebound.views.style import paper_style, save

CAPTIONS = "captions.md"


class FigureModule(Protocol):
    """What a figure's module holds; all of it sees only the data."""

    SOURCE: str
    """``theory`` where the data are closed forms that any machine makes again to rounding,
    ``measurement`` where a model was run."""

    def draw(self, data: dict[str, Any]) -> Figure:
        """The figure, within ``style.paper_style()``."""
        ...

    def shows(self, data: dict[str, Any]) -> str:
        """What is drawn: the first sentences of the caption."""
        ...

    def claims(self, data: dict[str, Any]) -> list[Claim]:
        """Which statements the data test and whether they hold."""
        ...


@dataclass(frozen=True)
class Drawn:
    """A figure on disk: its files, its caption and the claims that the caption is made of."""

    name: str
    files: tuple[Path, ...]
    caption: str
    claims: tuple[Claim, ...]


def draw_all(
    modules: Mapping[str, FigureModule],
    records: Mapping[str, dict[str, Any]],
    captioned: Mapping[str, dict[str, Any]],
    out: Path,
    source: str,
) -> list[Drawn]:
    """Draw ``records`` into ``out``, all or none, with captions.md of all that are ``captioned``.

    Raises InputError where ``out`` cannot be written.
    """
    drawn = []
    with staged_folder(out) as stage:
        for name, record in records.items():
            module, data = modules[name], record["data"]
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
        (stage / CAPTIONS).write_text(_captions(modules, captioned, source), encoding="utf-8")
    return drawn


def _captions(
    modules: Mapping[str, FigureModule], records: Mapping[str, dict[str, Any]], source: str
) -> str:
    parts = ["# Figures", f"Made by `finebound figures` from {source}."]
    for name in sorted(records):
        module, record = modules[name], records[name]
        text = compose(module.shows(record["data"]), module.claims(record["data"]))
        made_by = record["manifest"]["given"]["command"]
        parts += [
            f"## {name}",
            f"![{name}]({name}.png)",
            text,
            f"Data: {module.SOURCE}, made by `{made_by}`.",
        ]
    return "\n\n".join(parts) + "\n"

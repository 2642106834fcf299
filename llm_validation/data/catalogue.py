"""The public datasets that the studies used: where they are, what they hold, on what terms."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One public dataset.

    ``revision`` is a commit of the hub repository, or None for the newest (``Dataset.source``
    records which that was). ``files`` are the patterns of the files to fetch where the repository
    cannot be loaded by configuration and split. ``answers`` tells whether a column holds answers
    that a loss can be measured on. ``licence`` is "unverified" where no page that states it was
    seen, ``gated`` None where it is not known. ``drop_unusable`` marks sets known to hold rows
    without an answer: they are left out and counted.
    """

    name: str
    title: str
    hub: str | None
    config: str | None
    split: str | None
    revision: str | None
    files: tuple[str, ...]
    columns: tuple[str, ...]
    answers: bool
    licence: str
    gated: bool | None
    used_for: str
    study: str
    homepage: str
    drop_unusable: bool
    aliases: tuple[str, ...]


@cache
def catalogue() -> tuple[CatalogueEntry, ...]:
    """Every entry, in the order of the file."""
    text = Path(__file__).with_name("catalogue.json").read_text(encoding="utf-8")
    return tuple(_entry(fields) for fields in json.loads(text))


def find(name: str) -> CatalogueEntry | None:
    """The entry of this name or alias; capitals and ``-`` for ``_`` do not matter."""
    plain = _plain(name)
    for entry in catalogue():
        if plain in map(_plain, (entry.name, *entry.aliases)):
            return entry
    return None


def by_hub_id(repository: str) -> CatalogueEntry | None:
    """The entry of a hub repository ``owner/name``; the first when several are of it."""
    matches = (entry for entry in catalogue() if (entry.hub or "").lower() == repository.lower())
    return next(matches, None)


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _entry(fields: dict[str, Any]) -> CatalogueEntry:
    hub = fields.get("hub")
    return CatalogueEntry(
        name=fields["name"],
        title=fields["title"],
        hub=hub,
        config=fields.get("config"),
        split=fields.get("split"),
        revision=fields.get("revision"),
        files=tuple(fields.get("files", ())),
        columns=tuple(fields["columns"]),
        answers=fields["answers"],
        licence=fields["licence"],
        gated=fields["gated"],
        used_for=fields["used_for"],
        study=fields["study"],
        homepage=fields.get("homepage", f"https://huggingface.co/datasets/{hub}"),
        drop_unusable=fields.get("drop_unusable", False),
        aliases=tuple(fields.get("aliases", ())),
    )

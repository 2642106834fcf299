"""Writes docs/theorems.md: ``python -m theory.symbolic.document [FOLDER]``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from theory.symbolic.identities import IDENTITIES
from theory.symbolic.statements import written

_PLACE = re.compile(r"<!-- identities of (.+) -->")


def document() -> str:
    """The whole of docs/theorems.md: the files of ``text``, a contents list and what sympy proves.

    Raises ValueError where the files have no place for an identity, or one for no identity.
    """
    text = written()
    places = _PLACE.findall(text)
    if sorted(places) != sorted(IDENTITIES):
        raise ValueError(f"identities of {sorted(IDENTITIES)}, places for {sorted(places)}.")
    text = _PLACE.sub(lambda place: _proved(place.group(1)), text)
    return text.replace("<!-- contents -->", _contents(text))


def anchor(heading: str) -> str:
    """The fragment that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _contents(text: str) -> str:
    headings = re.findall(r"^##(#?) (.+)$", text.replace("## Contents\n", "", 1), re.MULTILINE)
    return "\n".join(f"{'  ' * len(deep)}- [{name}](#{anchor(name)})" for deep, name in headings)


def _proved(key: str) -> str:
    """What sympy proves of it; the words are the identities' own."""
    return "\n".join(
        f"- **Proved by sympy** (`{make.__module__}.{make.__name__}`): {make().statement}"
        for make in IDENTITIES[key]
    )


def main(folder: Path) -> Path:
    """Write ``theorems.md`` into ``folder``."""
    path = folder / "theorems.md"
    path.write_text(document(), encoding="utf-8")
    return path


if __name__ == "__main__":
    print(main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs")))

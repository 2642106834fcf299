"""``finebound card FOLDER``: what is known of a model's safety, in its README.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import Positional

from finebound.cli.options import parse

if TYPE_CHECKING:
    from finebound.results.result import Result


@dataclass(frozen=True)
class Options:
    """Write or refresh the section of a model's card: audit, forecast, measurement, certificate.

    FOLDER is that of a model or an adapter. The section stands in its README.md between the marks
    <!-- finebound --> and <!-- /finebound -->, or at the end where there are none; all else stays
    byte for byte. It says what the records hold: of estimate, evaluate, compare, certify, gate and
    others, with their versions and the commands that make them again. The same records give the
    same section.

    Example: finebound card my-adapter --from out/estimate.json out/certificate.json
    """

    folder: Positional[Path]
    """Folder of a model or an adapter."""
    records: Annotated[tuple[Path, ...], tyro.conf.arg(name="from")] = ()
    """Records, or folders with records (default: those in FOLDER)."""
    json: bool = False
    """Machine-readable output on stdout, nothing else there."""


def main(arguments: Sequence[str]) -> int:
    options = parse(Options, arguments, verb="card")
    from finebound.base.errors import InputError
    from finebound.base.records import to_json, write_atomically
    from finebound.base.text import show
    from finebound.views.model_card import CARD, refreshed, section

    if not options.folder.is_dir():
        raise InputError("is no folder.", remedy="Give the folder of a model.", file=options.folder)
    results = _results(options.records or (options.folder,))
    card = options.folder / CARD  # of a link the file is read, and left as it is
    try:
        before = card.read_bytes() if card.exists() else b""
        after = refreshed(before, section(results))
    except OSError as error:
        raise InputError(f"cannot be read: {error}.", remedy="Mend it.", file=card) from None
    except InputError as error:
        raise InputError(error.what, remedy=error.remedy, file=card) from None
    changed = after != before
    if changed:
        write_atomically(card, after)
    if options.json:
        found = {"card": card, "changed": changed, "records": list(results)}
        print(to_json(found))
    else:
        show(f"{'Written' if changed else 'Unchanged'}: {card}")
    return 0


def _results(paths: Sequence[Path]) -> dict[str, Result]:
    """Every record by its name, with its folder where two have the same."""
    from finebound.base.errors import InputError
    from finebound.results.registry import load, records_in

    files = [file for path in paths for file in (records_in(path) if path.is_dir() else [path])]
    files = list(dict.fromkeys(files))
    if not files:
        raise InputError(
            "holds no record of a result.",
            remedy="Give records with --from, such as out/estimate.json.",
            file=paths[0],
        )
    names = [file.name for file in files]
    return {file.name if names.count(file.name) == 1 else str(file): load(file) for file in files}

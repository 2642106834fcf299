"""Is this the base that an adapter was trained on? By hash where it is known, by name elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from finebound.base.errors import InputError
from finebound.base.records import to_json, write_atomically
from llm_validation.models.loading import read_json_object

if TYPE_CHECKING:
    from llm_validation.models.loading import LoadedModel

BASE = "base_model.json"  # beside the weights of an adapter that finebound wrote
_RUN = "run.json"  # beside the adapter's folder, in its run


def write_base(folder: Path, *, name: str, sha256: str) -> None:
    """Write beside an adapter which model it was trained on."""
    write_atomically(folder / BASE, to_json({"name": name, "sha256": sha256}) + "\n")


def base_note(loaded: LoadedModel, folder: Path, settings: dict[str, Any]) -> str | None:
    """A sentence where only names tell of the adapter's base, and they tell of another one.

    ``settings`` is the adapter's configuration. Raises InputError where a hash tells of another
    model: that of the adapter's run, or of the note beside it.
    """
    named = settings.get("base_model_name_or_path")
    hashes = _hashes(folder)
    for file, trained_on in hashes.items():
        if trained_on != loaded.sha256:
            raise InputError(
                f"the adapter's run began at another model than {loaded.name}: its {file} has the "
                f"hash {str(trained_on)[:12]}, and this is {loaded.sha256[:12]}.",
                remedy=f"Give the aligned model that the run began at as `model`: {named}.",
                file=folder,
            )
    if hashes:
        return None
    if not isinstance(named, str) or not named.strip():
        return f"The adapter does not say which model it was trained on; it is on {loaded.name}."
    here = Path(loaded.model.name_or_path or "")
    if _last(named) in {_last(loaded.name), _last(str(here))} or _same_place(named, here):
        return None
    return (
        f"The adapter says that it was trained on {named}, and it is on {loaded.name}: another "
        "model of the same sizes takes it too, and is not what was trained."
    )


def _hashes(folder: Path) -> dict[str, Any]:
    """What the adapter's own files say of its base's hash, by the file's name."""
    found = {}
    if (folder / BASE).is_file():
        found[BASE] = read_json_object(folder / BASE, again="the adapter").get("sha256")
    run = folder.parent / _RUN
    if run.is_file():
        identity = read_json_object(run, again="the run").get("identity")
        found[_RUN] = identity.get("model") if isinstance(identity, dict) else None
    return {file: sha256 for file, sha256 in found.items() if sha256 is not None}


def _last(name: str) -> str:
    """The model's own name in an id or a path; a snapshot of the hub's cache is that of its id."""
    parts = [part for part in name.replace("\\", "/").split("/") if part]
    snapshot = next((part for part in parts if part.startswith("models--")), None)
    return (snapshot.rpartition("--")[2] if snapshot else parts[-1] if parts else "").lower()


def _same_place(named: str, here: Path) -> bool:
    try:
        return Path(named).expanduser().samefile(here)
    except OSError:
        return False

"""Callbacks in LLaMA-Factory: ``python -m finebound.llamafactory CONFIG.yaml [KEY=VALUE ...]``.

The configuration is LLaMA-Factory's own with a section ``finebound``
(``llm_validation.callbacks.settings:callbacks_of``), which its trainers would reject: the section
becomes callbacks, and the rest is trained as ``llamafactory-cli train`` does. On several GPUs:
``torchrun --nproc_per_node N -m finebound.llamafactory CONFIG.yaml``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from finebound.base.errors import InputError

_USAGE = "python -m finebound.llamafactory CONFIG.yaml [KEY=VALUE ...]"


def train(config: str | Path, overrides: Sequence[str] = ()) -> None:
    """Train what the file says, with its callbacks. Raises InputError for a file it cannot read."""
    from llm_validation.callbacks.settings import callbacks_of

    settings = _read(Path(config))
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign or not key.isidentifier():
            raise InputError(f"{override!r} says no KEY=VALUE.", remedy=_USAGE)
        settings[key] = yaml.safe_load(value)
    section = settings.pop("finebound", None)
    if section is not None and not isinstance(section, dict):
        raise InputError("finebound holds no keys.", remedy="Write monitor: true.", file=config)
    callbacks = callbacks_of(section)
    try:
        tuner = import_module("llamafactory.train.tuner")
    except ModuleNotFoundError as error:
        raise InputError(
            f"LLaMA-Factory cannot be imported: {error.name} is missing.",
            remedy="pip install llamafactory, in the environment that finebound is in.",
        ) from None
    tuner.run_exp(args=settings, callbacks=callbacks)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}.", remedy=_USAGE, file=file) from None
    except yaml.YAMLError as error:
        raise InputError(f"is no YAML: {error}.", remedy=_USAGE, file=file) from None
    if not isinstance(found, dict):
        raise InputError("holds no keys.", remedy=_USAGE, file=file)
    return found


def main(words: Sequence[str]) -> int:
    """The exit code: 0, or 2 where the input is wrong."""
    if not words or words[0] in ("-h", "--help"):
        print(__doc__ if words else _USAGE)
        return 0 if words else 2
    try:
        train(words[0], words[1:])
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

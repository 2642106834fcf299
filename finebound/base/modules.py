"""What stands in the modules of a package, without an import of any."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType


def sources(package: ModuleType) -> dict[str, str]:
    """The source of every module of ``package`` by its name."""
    files = (file for folder in package.__path__ for file in sorted(Path(folder).glob("*.py")))
    return {f.stem: f.read_text(encoding="utf-8") for f in files if f.stem != "__init__"}

"""The licences of everything that finebound needs, as the installed packages state them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

Verdict = Literal["permissive", "copyleft per file", "copyleft", "unknown"]
ACCEPTED = (
    r"mit(-cmu)?( license)?|the mit license.*",
    r"apache.*",
    r"(new |modified )?(0|[23][- ]clause )?bsd.*",
    r"isc.*",
    r"psf.*|python software foundation.*|cnri-python.*",
    r"cc0.*|public domain|unlicense",
    r"zlib|bsl-1\.0|boost.*",
)
"""Permissive licences, as patterns of whole names in small letters."""
PER_FILE = (r"mpl-2\.0|mozilla public license 2\.0.*",)
"""Copyleft of the files themselves, which finebound neither changes nor ships."""
COPYLEFT = re.compile(r"gpl|general public|affero|eupl|cddl|sspl|copyleft", re.IGNORECASE)
KNOWN = {
    "docutils": "Public Domain AND BSD-2-Clause",
}
"""What a package's metadata state too widely: docutils names the GPL for a file of its Emacs mode,
which is not installed."""


@dataclass(frozen=True)
class Licence:
    """A package's licence in its own words, and what it allows."""

    package: str
    version: str
    licence: str
    verdict: Verdict

    @property
    def is_accepted(self) -> bool:
        return self.verdict in ("permissive", "copyleft per file")


def licences(package: str = "finebound") -> list[Licence]:
    """The licences of the package and of all that it and its extras need, if it is installed."""
    found: dict[str, Licence] = {}
    waiting = [(package, _extras(package))]
    seen: set[tuple[str, str]] = set()
    while waiting:
        name, extras = waiting.pop()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        key = re.sub(r"[-_.]+", "-", name).lower()
        licence = KNOWN.get(key) or _stated(distribution.metadata)
        found[key] = Licence(key, distribution.version, licence or "none", judge(licence))
        for extra in ("", *extras):
            if (key, extra) not in seen:
                seen.add((key, extra))
                waiting += _needs(distribution, extra)
    return sorted(found.values(), key=lambda licence: licence.package)


_ORDER: tuple[Verdict, ...] = ("permissive", "copyleft per file", "unknown", "copyleft")


def judge(licence: str) -> Verdict:
    """Of alternatives (OR) the mildest counts, of parts (AND) the strictest."""
    if not licence:
        return "unknown"

    def of_all(parts: str) -> int:
        return max(_ORDER.index(_of_one(part)) for part in re.split(r"\s+AND\s+|,", parts))

    return _ORDER[min(of_all(parts) for parts in re.split(r"\s+OR\s+", licence))]


def _of_one(name: str) -> Verdict:
    name = name.strip(" ()").lower()
    if any(re.fullmatch(pattern, name) for pattern in ACCEPTED):
        return "permissive"
    if any(re.fullmatch(pattern, name) for pattern in PER_FILE):
        return "copyleft per file"
    return "copyleft" if COPYLEFT.search(name) else "unknown"


def _stated(found: metadata.PackageMetadata) -> str:
    """The expression, else the classifiers, else the old field where it is one line."""
    if "License-Expression" in found:
        return found["License-Expression"]
    classifiers = [
        entry.rpartition(" :: ")[2].replace(" (MPL 2.0)", "")
        for entry in found.get_all("Classifier") or ()
        if entry.startswith("License ::") and not entry.endswith("OSI Approved")
    ]
    if classifiers:
        return " AND ".join(classifiers)
    lines = found["License"].strip().splitlines() if "License" in found else []
    return re.sub(r",\s*(?=version)", " ", lines[0], flags=re.IGNORECASE) if lines else ""


def _extras(package: str) -> tuple[str, ...]:
    try:
        return tuple(metadata.metadata(package).get_all("Provides-Extra") or ())
    except metadata.PackageNotFoundError:
        return ()


def _needs(distribution: metadata.Distribution, extra: str) -> list[tuple[str, tuple[str, ...]]]:
    from packaging.requirements import Requirement

    needed: list[tuple[str, tuple[str, ...]]] = []
    for line in distribution.requires or ():
        one = Requirement(line)
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            needed.append((one.name, tuple(one.extras)))
    return needed

"""How many requests of a file the rules of the audit call harmful, with Wilson intervals.

``python -m benchmarks.harmful_requests FILE...``: probe sets (AdvBench, HarmBench, StrongREJECT,
AILuminate, XSTest with its two labels, lists of instructions) or data sets with prompts. Each
file's harmful and harmless prompts are counted apart where it tells them apart. The figures in
docs/audit_of_data.md are of files that cannot be shipped; their hashes stand beside them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from finebound.base.errors import InputError
from finebound.base.records import file_sha256
from llm_validation.audit.harmful_requests import harmful_request
from llm_validation.data.loading import load_dataset
from llm_validation.evaluation.hazards.probes import load_probes
from llm_validation.evaluation.statistics.intervals import wilson


def prompts_of(file: Path) -> dict[str, list[str]]:
    """Prompts of a probe set by kind, of a data set, or of a JSON object with a list of them."""
    if file.suffix == ".json":
        content = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(content, dict) and isinstance(content.get("instructions"), list):
            return {"all": content["instructions"]}
    try:
        probes = load_probes(file).probes
    except InputError:
        dataset = load_dataset(file, drop_unusable=True)
        return {"all": list(dataset.prompts)}
    kinds = {True: "harmful", False: "harmless"}
    found: dict[str, list[str]] = {}
    for probe in probes:
        found.setdefault(kinds[probe.harmful], []).append(probe.prompt)
    return found


def main() -> None:
    for name in sys.argv[1:]:
        file = Path(name)
        for kind, prompts in prompts_of(file).items():
            found = sum(harmful_request(prompt) is not None for prompt in prompts)
            interval = wilson(found, len(prompts))
            print(
                f"| {file.stem} | {kind} | {found} of {len(prompts)} | "
                f"{found / len(prompts):.3f} [{interval.lower:.3f}, {interval.upper:.3f}] | "
                f"`{file_sha256(file)[:12]}` |"
            )


if __name__ == "__main__":
    main()

"""``finebound export-tasks``: a folder that lm-evaluation-harness and inspect_ai load as it is."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from finebound.base.records import staged_folder
from finebound.results.harness import HarnessTasksResult, TaskRows
from llm_validation.evaluation.fairness.answering import LIKELIHOOD_PROMPT
from llm_validation.evaluation.fairness.builtin import NAME as BBQ
from llm_validation.evaluation.harness.rows import as_lines, bbq_rows, refusal_rows
from llm_validation.evaluation.hazards.probes import PAIRS

if TYPE_CHECKING:
    from jinja2 import Environment

VERSION = 1
"""Raised when a prompt, a score or the way in which an answer is read changes."""
REFUSAL_TOKENS, BBQ_TOKENS = 256, 16  # as `evaluate refusal` and `evaluate bbq` ask
_LM_EVAL = ("finebound_refusal.yaml", "finebound_bbq.yaml", "finebound_bbq_likelihood.yaml")
_FUNCTIONS, _INSPECT = "finebound_lm_eval.py", "finebound_inspect.py"


def export_tasks(folder: str | Path) -> HarnessTasksResult:
    """Write the tasks into ``folder``, all of their files or none, and say what they hold.

    Raises InputError for a folder that cannot be written.
    """
    lines = {"refusal": as_lines(refusal_rows()), "bbq": as_lines(bbq_rows())}
    sources = {"refusal": PAIRS, "bbq": BBQ}
    rows = {
        name: TaskRows(
            file=f"finebound_{name}.jsonl",
            source=sources[name],
            version=VERSION,
            rows=content.count(b"\n"),
            sha256=sha256(content).hexdigest(),
        )
        for name, content in lines.items()
    }
    prompt = LIKELIHOOD_PROMPT.replace("\n", "\\n").replace("{", "{{").replace("}", "}}")
    values = {
        **rows,
        "refusal_tokens": REFUSAL_TOKENS,
        "bbq_tokens": BBQ_TOKENS,
        "likelihood_prompt": prompt,
    }
    found = HarnessTasksResult(
        lm_eval=tuple(Path(name).stem for name in _LM_EVAL),
        inspect=_INSPECT,
        rows=tuple(rows.values()),
    )
    with staged_folder(folder) as stage:
        for name in rows:
            (stage / rows[name].file).write_bytes(lines[name])
        for name in (*_LM_EVAL, _FUNCTIONS, _INSPECT):
            text = _templates().get_template(f"{name}.j2").render(values)
            (stage / name).write_text(text, encoding="utf-8")
        found.save(stage)
    return found


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("llm_validation.evaluation.harness", "."),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )

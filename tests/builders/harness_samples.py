"""Samples as lm-evaluation-harness 0.4.13 and inspect_ai 0.3.285 log them."""

from __future__ import annotations

from typing import Any


def lm_eval_sample(number: int, document: dict[str, Any], *answers: Any) -> dict[str, Any]:
    """A row of samples_TASK_*.jsonl: one written answer, or ``(text, log-probability)`` of each."""
    if isinstance(answers[0], str):
        asked, found = [document["prompt"]], list(answers)
        told: list[Any] = [{"until": [], "max_gen_toks": 16}]
    else:
        asked = [f"{document['context']}\n\n{document['question']}"] * len(answers)
        told = [text for text, _ in answers]
        found = [[str(logprob), "False"] for _, logprob in answers]
    turns = [f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n" for text in asked]
    arguments = {
        f"gen_args_{place}": {"arg_0": first, "arg_1": second}
        for place, (first, second) in enumerate(zip(turns, told, strict=True))
    }
    return {
        "doc_id": number,
        "doc": document,
        "target": "",
        "arguments": arguments,
        "resps": [[one] for one in found],
        "filtered_resps": found,
        "filter": "none",
        "metrics": ["refusal_rate"],
        "doc_hash": "0",
        "refusal_rate": None,
    }


def inspect_log(documents: list[dict[str, Any]], answers: list[str | None]) -> dict[str, Any]:
    """A .json log of inspect_ai; an answer of None is a sample that failed."""
    return {
        "version": 2,
        "status": "success",
        "eval": {"task": "finebound_refusal", "packages": {"inspect_ai": "0.3.285"}},
        "samples": [_inspect_sample(*both) for both in zip(documents, answers, strict=True)],
    }


def _inspect_sample(document: dict[str, Any], answer: str | None) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer, "source": "generate"}
    choices = [] if answer is None else [{"message": message, "stop_reason": "stop"}]
    asked = {"id": "a", "role": "user", "content": document["prompt"], "source": "input"}
    sample = {
        "id": document["id"],
        "epoch": 1,
        "input": document["prompt"],
        "target": "",
        "messages": [asked] if answer is None else [asked, message],
        "output": {"model": "m", "choices": choices, "completion": answer or ""},
        "scores": {},
        "metadata": document,
    }
    return sample | ({"error": {"message": "timeout"}} if answer is None else {})

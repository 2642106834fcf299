"""Answers by vLLM, where it is installed: the same prompts, settings and stops, on a GPU faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from finebound.base.errors import InputError
from finebound.base.records import spawn_seed
from llm_validation.evaluation.answer_store import StoredAnswer
from llm_validation.evaluation.sampling import Sampling

if TYPE_CHECKING:
    from llm_validation.models.loading import LoadedModel

Answer = Callable[[Mapping[str, list[int]]], dict[str, StoredAnswer]]


@contextmanager
def vllm_answers(
    loaded: LoadedModel,
    sampling: Sampling,
    *,
    stops: Sequence[int],
    cut: Callable[[list[int]], StoredAnswer],
    bfloat16: bool,
) -> Iterator[Answer]:
    """A function from ``key -> token ids`` to answers, of the model as it is now.

    vLLM reads models from a folder, so the weights are saved into a temporary one. ``cut`` makes
    an answer of the generated tokens, up to a stop. A drawn answer depends on the seed and its own
    prompt, as with transformers, but its draws are others. Raises InputError where vLLM is not
    installed and for an adapter or a quantised base.
    """
    try:
        vllm = import_module("vllm")
    except ModuleNotFoundError:
        raise InputError(
            "the engine vllm needs vLLM, which is not installed.",
            remedy="pip install vllm (on a machine with a GPU), or use the `engine` transformers.",
        ) from None
    model = loaded.model
    if hasattr(model, "peft_config") or getattr(model, "quantization_method", None) is not None:
        raise InputError(
            f"vLLM answers here for whole models alone, and {loaded.name} has an adapter or a "
            "quantised base.",
            remedy="Merge the adapter and save the model, or use the `engine` transformers.",
        )
    with TemporaryDirectory(prefix="finebound-vllm-") as folder:
        model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
        engine = vllm.LLM(
            model=folder,
            dtype="bfloat16" if bfloat16 else "float32",
            max_model_len=loaded.context_length,
            # The model's own generation_config may ask for other things.
            generation_config="vllm",
            trust_remote_code=False,
        )

        def answer(batch: Mapping[str, list[int]]) -> dict[str, StoredAnswer]:
            settings = [
                vllm.SamplingParams(
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    max_tokens=sampling.max_new_tokens,
                    stop_token_ids=list(stops),
                    seed=spawn_seed(sampling.seed, key) & 0x7FFF_FFFF,
                    detokenize=False,
                )
                for key in batch
            ]
            prompts = [{"prompt_token_ids": row} for row in batch.values()]
            found = engine.generate(prompts, settings, use_tqdm=False)
            return {
                key: cut(list(one.outputs[0].token_ids))
                for key, one in zip(batch, found, strict=True)
            }

        yield answer

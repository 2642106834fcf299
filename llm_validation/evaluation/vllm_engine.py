"""Answers by vLLM, where it is installed: the same prompts, settings and stops, on a GPU faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from finebound.base.errors import InputError
from finebound.base.records import spawn_seed
from llm_validation.evaluation.answer_store import StoredAnswer
from llm_validation.evaluation.sampling import Sampling
from llm_validation.evaluation.vllm_adapter import (
    adapter_in_use,
    require_that_it_arrives,
    save_apart,
)

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
    prompt, as with transformers, but its draws are others. A LoRA is given with each request, and a
    probe checks that it arrives. Raises InputError where vLLM is not installed, for a quantised
    base, and for an adapter that vLLM cannot load or leaves out.
    """
    try:
        vllm = import_module("vllm")
    except ModuleNotFoundError:
        raise InputError(
            "the engine vllm needs vLLM, which is not installed.",
            remedy="pip install vllm (on a machine with a GPU), or use the `engine` transformers.",
        ) from None
    model: Any = loaded.model
    if getattr(model, "quantization_method", None) is not None:
        raise InputError(
            f"vLLM answers here for whole weights, and {loaded.name} has a quantised base.",
            remedy="Use the `engine` transformers.",
        )
    name = adapter_in_use(loaded)
    with TemporaryDirectory(prefix="finebound-vllm-") as temporary:
        folder, lora, rank = Path(temporary), None, 0
        if hasattr(model, "peft_config"):
            folder, lora, rank = save_apart(model, name, folder)
        else:
            model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
        with_lora: dict[str, Any] = {"enable_lora": True, "max_lora_rank": rank} if lora else {}
        try:
            engine = vllm.LLM(
                model=str(folder),
                dtype="bfloat16" if bfloat16 else "float32",
                max_model_len=loaded.context_length,
                # The model's own generation_config may ask for other things.
                generation_config="vllm",
                trust_remote_code=False,
                **with_lora,
            )
        except (ValueError, NotImplementedError) as error:
            raise InputError(
                f"vLLM cannot load {loaded.name}: {str(error).splitlines()[0]}",
                remedy="Use the `engine` transformers.",
            ) from error
        request: dict[str, Any] = {}
        if lora is not None:
            made = import_module("vllm.lora.request").LoRARequest("adapter", 1, str(lora))
            request = {"lora_request": made}

            def likelihoods(ids: Sequence[int], on: bool) -> np.ndarray:
                settings = vllm.SamplingParams(
                    temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False
                )
                (found,) = engine.generate(
                    [{"prompt_token_ids": list(ids)}],
                    [settings],
                    use_tqdm=False,
                    **(request if on else {}),
                )
                places = zip(ids[1:], found.prompt_logprobs[1:], strict=True)
                return np.array([place[token].logprob for token, place in places])

            require_that_it_arrives(loaded, likelihoods)

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
            found = engine.generate(prompts, settings, use_tqdm=False, **request)
            return {
                key: cut(list(one.outputs[0].token_ids))
                for key, one in zip(batch, found, strict=True)
            }

        yield answer

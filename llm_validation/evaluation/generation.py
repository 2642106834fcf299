"""Answers of a model to many prompts: in batches, kept by content, resumable answer by answer."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.data.dataset import Dataset
from llm_validation.data.encoding import encode, prompt_text
from llm_validation.evaluation.answer_store import AnswerStore, StoredAnswer
from llm_validation.evaluation.options import Engine
from llm_validation.evaluation.refusal.reasoning import is_mark, opened_by
from llm_validation.evaluation.sampling import Sampling, token_choice
from llm_validation.measure.shared_prefix import (
    PrefixReader,
    reads_after_a_prefix,
    shared_prefixes,
)
from llm_validation.models.adapters import is_prompt_learning

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llm_validation.evaluation.vllm_engine import Answer
    from llm_validation.models.loading import LoadedModel

Turns = Sequence[tuple[str, str]]
_VLLM_BATCHES = 64  # of tokens_per_batch at a time; what is kept after a kill comes in such steps
_TAIL = 12  # tokens at a prompt's end in which its template may open a thought
_SAMPLED_WEIGHTS = 65_536  # of each tensor, for the fingerprint: training moves nearly every one


@dataclass(frozen=True)
class Response:
    """A model's answer to ``prompt``.

    ``text`` is None, never an empty string, where nothing could be generated: ``error`` then says
    why. ``finished`` is False for an answer that was cut at ``max_new_tokens``; ``tokens`` counts
    what was generated, the stop token aside.
    """

    prompt: str
    text: str | None
    finished: bool = True
    tokens: int = 0
    error: str | None = None
    category: str | None = None

    @property
    def status(self) -> str:
        """``"done"`` or ``"error"``."""
        return "done" if self.text is not None else "error"


def generate(
    loaded: LoadedModel,
    prompts: Dataset | Sequence[Turns | str],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    system: str | None = None,
    seed: int = 0,
    first: int = 0,
    tokens_per_batch: int = 16_384,
    bfloat16: bool = False,
    engine: Engine = "transformers",
    cache: str | Path | None = None,
    progress: Progress = silent,
    doing: str = "answering prompts",
) -> list[Response]:
    """One answer to every prompt, in their order; a dataset's own answers are not read.

    Each prompt is a conversation, or a text to be continued as it is, without the chat template.
    What is drawn for one that is repeated has a number, from ``first`` on, and by it random numbers
    of its own.
    ``system`` replaces a conversation's system turn. Batches hold prompts of similar length and at
    most ``tokens_per_batch`` tokens, answers included; one that does not fit into memory is halved.
    ``bfloat16`` answers with a copy of the model in that precision, ``engine`` "vllm" by vLLM.

    ``cache`` is a folder that keeps every answer as soon as its batch is done, under the model's
    weights (as they are now), the templated prompt and the settings: a call after a kill goes on.

    A prompt that leaves no room in the context, or whose generation fails, becomes a ``Response``
    with an error; errors are not kept. Raises InputError when the chat template refuses a
    conversation or the cache cannot be written, ValueError for settings out of range.

    Where the template opens a thought, the text begins with its mark, so that a thought that was
    cut can be told from an answer.
    """
    from llm_validation.models.virtual_tokens import virtual_tokens

    sampling = Sampling(max_new_tokens, temperature, top_p, seed)
    conversations = _conversations(prompts, system)
    ids = _token_ids(loaded, conversations, prompts)
    keys = _keys(ids, sampling, first)
    store = None
    if cache is not None:
        settings = {**asdict(sampling), "bfloat16": bfloat16, "model": fingerprint(loaded)}
        if engine != "transformers":
            settings["engine"] = engine
        store = AnswerStore(Path(cache).expanduser(), settings)
    found = dict(store.read()) if store else {}

    room = loaded.context_length - max_new_tokens - virtual_tokens(loaded.model)
    waiting: dict[str, list[int]] = {}
    for key, row in zip(keys, ids, strict=True):
        if len(row) > room:
            found[key] = StoredAnswer(
                error=f"the prompt has {len(row)} tokens; with {max_new_tokens} for the answer it "
                f"exceeds the context of {loaded.context_length}"
            )
        elif key not in found:
            waiting[key] = row
    if waiting:
        if engine == "vllm":
            tokens_per_batch *= _VLLM_BATCHES  # it makes its own
        batches = _batches(waiting, per_row=max_new_tokens, tokens=tokens_per_batch)
        with _answering(loaded, sampling, engine, bfloat16) as answer:
            for batch in progress(batches, doing):
                answered = _each(answer, batch)
                found.update(answered)
                if store:
                    store.add({key: item for key, item in answered.items() if item.error is None})
    return [
        _response(found[key], prompt, category, _opened_thought(loaded, row, turns))
        for key, row, turns, (prompt, category) in zip(
            keys, ids, conversations, _labels(prompts), strict=True
        )
    ]


def _response(answer: StoredAnswer, prompt: str, category: str | None, opened: str) -> Response:
    text = answer.text
    if opened and text is not None and not text.startswith(opened):
        text = f"{opened}\n{text}"
    return Response(prompt, text, answer.finished, answer.tokens, answer.error, category)


def _opened_thought(loaded: LoadedModel, row: Sequence[int], turns: Turns | str) -> str:
    """The mark of a thought that the template has opened at the end of a prompt, or nothing."""
    if isinstance(turns, str):
        return ""
    return opened_by(_text(loaded.tokenizer, row[-_TAIL:], skip_marks=False))


def _text(tokenizer: PreTrainedTokenizerBase, row: Sequence[int], *, skip_marks: bool) -> str:
    return cast(str, tokenizer.decode(list(row), skip_special_tokens=skip_marks))


def fingerprint(loaded: LoadedModel) -> str:
    """SHA-256 of the model's content and of a sample of the weights that it has now.

    A model that was trained or wrapped after it was loaded, or whose adapter is turned off, answers
    differently, and its ``sha256`` does not know.
    """
    import torch

    digest = hashlib.sha256(loaded.sha256.encode())
    off = [n for n, m in loaded.model.named_modules() if getattr(m, "disable_adapters", 0) is True]
    digest.update(f"{off} {is_prompt_learning(loaded.model)}".encode())
    for name, weights in sorted(loaded.model.named_parameters()):
        flat = weights.detach().reshape(-1)
        sample = flat[:: max(1, flat.numel() // _SAMPLED_WEIGHTS)].contiguous()
        digest.update(f"{name} {tuple(weights.shape)} {weights.dtype}".encode())
        digest.update(sample.cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def stop_tokens(loaded: LoadedModel) -> list[int]:
    """What ends an answer: the configured tokens, and the one that the template writes after it."""
    configured = getattr(loaded.model.generation_config, "eos_token_id", None)
    stops: set[int] = {configured} if isinstance(configured, int) else set(configured or ())
    if isinstance(own := loaded.tokenizer.eos_token_id, int):
        stops.add(own)
    example = encode(
        Dataset.of([("Hello", "Hello")], name="end of turn"),
        loaded.tokenizer,
        max_length=loaded.context_length,
    )[0]
    last = int(example.input_ids[example.supervised][-1])
    token = loaded.tokenizer.added_tokens_decoder.get(last)
    if token is not None and token.special:
        stops.add(last)
    return sorted(stops)


@contextmanager
def _answering(
    loaded: LoadedModel, sampling: Sampling, engine: Engine, bfloat16: bool
) -> Iterator[Answer]:
    if engine == "vllm":
        from llm_validation.evaluation.vllm_engine import vllm_answers

        stops = stop_tokens(loaded)
        cut = partial(_cut, stops=stops, tokenizer=loaded.tokenizer)
        with vllm_answers(loaded, sampling, stops=stops, cut=cut, bfloat16=bfloat16) as answer:
            yield answer
        return
    with _ready(loaded.model, bfloat16) as model:
        yield _Answerer(model, loaded, sampling)


def _each(answer: Answer, batch: Mapping[str, list[int]]) -> dict[str, StoredAnswer]:
    """An answer or an error to each: where a batch fails, its halves may not."""
    try:
        return answer(batch)
    except (RuntimeError, ValueError, IndexError) as error:
        if len(batch) == 1:
            why = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            return dict.fromkeys(batch, StoredAnswer(error=why))
    # Memory ran out, or one of the rows cannot be answered: the others still can.
    items = list(batch.items())
    middle = len(items) // 2
    return {**_each(answer, dict(items[:middle])), **_each(answer, dict(items[middle:]))}


def _cut(
    tokens: list[int], stops: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> StoredAnswer:
    """The answer that generated tokens are, up to the first stop."""
    end = next((i for i, token in enumerate(tokens) if token in stops), None)
    said = tokens[:end]
    special = {i: t.content for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    if any(is_mark(special[token]) for token in said if token in special):
        # Without the marks a thought could not be told from the answer.
        kept = [t for t in said if t not in special or is_mark(special[t])]
        text = _text(tokenizer, kept, skip_marks=False)
    else:
        text = _text(tokenizer, said, skip_marks=True)
    return StoredAnswer(text.strip(), end is not None, len(said))


class _Answerer:
    """Answers a batch of ``key -> token ids`` with one call of the model's ``generate``."""

    def __init__(self, model: PreTrainedModel, loaded: LoadedModel, sampling: Sampling) -> None:
        self.model, self.tokenizer, self.sampling = model, loaded.tokenizer, sampling
        self.stops = stop_tokens(loaded)
        self.device = next(model.parameters()).device
        self.shares, self.reader = reads_after_a_prefix(model), PrefixReader(model)

    def __call__(self, batch: Mapping[str, list[int]]) -> dict[str, StoredAnswer]:
        import torch
        from transformers import LogitsProcessorList

        pad = cast(int, self.tokenizer.pad_token_id)
        choice = token_choice(self.sampling, list(batch))
        with torch.no_grad():
            inputs = self._inputs(list(batch.values()), pad)
            width = inputs["input_ids"].shape[1]
            model, inputs = _with_virtual_tokens(self.model, inputs)
            out = model.generate(
                **inputs,
                max_new_tokens=self.sampling.max_new_tokens,
                logits_processor=LogitsProcessorList([choice]),
                # The model's own generation_config may ask for other things.
                do_sample=False,
                num_beams=1,
                temperature=1.0,
                top_k=50,
                top_p=1.0,
                repetition_penalty=1.0,
                no_repeat_ngram_size=0,
                use_cache=True,
                pad_token_id=pad,
                eos_token_id=self.stops,
            )
        if "input_ids" in inputs:
            out = out[:, width:]
        broken = choice.broken.tolist()
        return {
            key: StoredAnswer(error="the model's logits are not finite")
            if bad
            else _cut(tokens, self.stops, self.tokenizer)
            for key, tokens, bad in zip(batch, out.tolist(), broken, strict=True)
        }

    def _inputs(self, rows: list[list[int]], pad: int) -> dict[str, Any]:
        """Prompts padded on the left, after what several of them begin with: that is read once."""
        import torch

        prefixes: list[tuple[int, ...]] = [()] * len(rows)
        if self.shares:
            # The last token is read anew: it is what the first token of the answer follows.
            prefixes = shared_prefixes([row[:-1] for row in rows])
        rests = [row[len(prefix) :] for row, prefix in zip(rows, prefixes, strict=True)]
        width = max(map(len, rests))
        ids = torch.tensor([[pad] * (width - len(rest)) + rest for rest in rests])
        mask = torch.tensor([[0] * (width - len(rest)) + [1] * len(rest) for rest in rests])
        ids, mask = ids.to(self.device), mask.to(self.device)
        if not any(prefixes):
            return {"input_ids": ids, "attention_mask": mask}
        places = {prefix: place for place, prefix in enumerate(dict.fromkeys(prefixes))}
        cache, before = self.reader.read(list(places), [places[prefix] for prefix in prefixes])
        return {
            # generate() wants a column for every token that it need not read.
            "input_ids": torch.cat([torch.full_like(before, pad), ids], dim=1),
            "attention_mask": torch.cat([before, mask], dim=1),
            "past_key_values": cache,
        }


def _with_virtual_tokens(
    model: Any, inputs: dict[str, torch.Tensor]
) -> tuple[Any, dict[str, torch.Tensor]]:
    """What to call, and with what, so that virtual tokens stand right before each prompt.

    peft puts them before the padding, at positions that depend on how long the batch's other
    prompts are; so did the answers.
    """
    import torch

    if not is_prompt_learning(model):
        return model, inputs
    base = model.get_base_model()
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    embeddings = base.get_input_embeddings()(ids)
    virtual = model.get_prompt(len(ids)).to(embeddings)
    if virtual.dim() != 3:
        raise ValueError("only virtual tokens that are embeddings can be generated with")
    number = virtual.shape[1]
    # Rolling each row by its padding turns [virtual, padding, prompt] into [padding, virtual, ...].
    together = torch.cat([virtual, embeddings], dim=1)
    padding = (mask == 0).sum(dim=1, keepdim=True)
    places = torch.arange(together.shape[1], device=mask.device).expand(len(ids), -1)
    shifted = places - padding
    source = torch.where(shifted < number, shifted.clamp_min(0), places)
    rows = torch.arange(len(ids), device=mask.device).unsqueeze(1)
    return base, {
        "inputs_embeds": together[rows, source],
        "attention_mask": (shifted >= 0).to(mask),
    }


@contextmanager
def _ready(model: PreTrainedModel, bfloat16: bool) -> Iterator[PreTrainedModel]:
    """The model in evaluation mode, or a bfloat16 copy; the caller's stays as it was."""
    import torch

    if bfloat16:
        copied: Any = copy.deepcopy(model)
        yield copied.to(torch.bfloat16).eval()
        return
    training = model.training
    model.eval()
    try:
        yield model
    finally:
        model.train(training)


def _batches(
    waiting: Mapping[str, list[int]], *, per_row: int, tokens: int
) -> list[dict[str, list[int]]]:
    """Prompts of similar length together; the longest first, so that memory runs out at once."""
    batches: list[dict[str, list[int]]] = []
    width = 0
    for key, row in sorted(waiting.items(), key=lambda item: (-len(item[1]), item[0])):
        if not batches or (len(batches[-1]) + 1) * width > tokens:
            batches.append({})
            width = len(row) + per_row
        batches[-1][key] = row
    return batches


def _conversations(
    prompts: Dataset | Sequence[Turns | str], system: str | None
) -> list[Turns | str]:
    turns: list[Turns | str] = (
        [example.messages for example in prompts.examples]
        if isinstance(prompts, Dataset)
        else list(prompts)
    )
    if system is None:
        return turns
    return [
        conversation
        if isinstance(conversation, str)
        else [("system", system), *(turn for turn in conversation if turn[0] != "system")]
        for conversation in turns
    ]


def _labels(prompts: Dataset | Sequence[Turns | str]) -> list[tuple[str, str | None]]:
    if isinstance(prompts, Dataset):
        return [(example.prompt, example.category) for example in prompts.examples]
    return [
        (turns if isinstance(turns, str) else "\n".join(text for _, text in turns), None)
        for turns in prompts
    ]


def _token_ids(
    loaded: LoadedModel,
    conversations: Sequence[Turns | str],
    prompts: Dataset | Sequence[Turns | str],
) -> list[list[int]]:
    tokenizer = loaded.tokenizer
    begins = tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
    start = str(tokenizer.bos_token) if begins else ""
    texts: list[str] = []
    for row, turns in enumerate(conversations):
        if isinstance(turns, str):
            texts.append(turns if turns.startswith(start) else start + turns)
            continue
        try:
            texts.append(prompt_text(turns, tokenizer))
        except InputError as refused:
            place = (None, row + 1)
            if isinstance(prompts, Dataset):
                place = prompts.examples[row].origin or (prompts.source, row + 1)
            raise InputError(
                refused.what, remedy=refused.remedy, file=place[0], row=place[1]
            ) from refused
    if not texts:
        return []
    return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]


def _keys(ids: Sequence[Sequence[int]], sampling: Sampling, first: int) -> list[str]:
    """What an answer is kept under. Repeated prompts share one, unless answers are drawn."""
    seen: dict[str, int] = {}
    keys = []
    for row in ids:
        key = hashlib.sha256(np.asarray(row, dtype="<i8").tobytes()).hexdigest()
        times = seen[key] = seen.get(key, first - 1) + 1
        keys.append(f"{key}-{times}" if sampling.temperature > 0.0 and times else key)
    return keys

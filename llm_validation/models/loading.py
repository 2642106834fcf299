"""Load a causal language model and its tokenizer: the packaged one, a folder, or a hub id."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from finebound.base.errors import InputError
from finebound.base.progress import Progress, silent
from llm_validation.models.footprint import BYTES
from llm_validation.models.packaged import NAME as PACKAGED_NAME
from llm_validation.models.packaged import cache_folder, packaged_model_folder, without_bars
from llm_validation.models.packaged_aligned import (
    ALIGNED_NAME,
    aligned_sha256,
    packaged_aligned_folder,
)
from llm_validation.models.placement import (
    PLAIN,
    Placement,
    loading_options,
    placed,
    require_at_hand,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

USE_PACKAGED = "or use the packaged model by its name, packaged"
_HUB_ANSWERS_WITHIN = 5.0  # seconds
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)
_OLD_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.msgpack", "*.h5")


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be measured: float32, in evaluation mode, with its tokenizer.

    ``sha256`` identifies the content (configuration, weights, tokenizer and chat template), not
    the place; ``context_length`` is the longest row in tokens. ``notes`` are sentences that a
    person should see beside its numbers.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    sha256: str
    context_length: int
    notes: tuple[str, ...] = ()

    @property
    def pad_id(self) -> int:
        """The padding token."""
        return cast(int, self.tokenizer.pad_token_id)  # load_tokenizer sees to one

    @property
    def vocabulary(self) -> int:
        """The tokens that the model chooses among."""
        head: Any = self.model.get_output_embeddings()
        return int(head.weight.shape[0])


@dataclass(frozen=True)
class Reader:
    """A model without its weights: tokenizer, longest row in tokens, modules.

    ``blank`` is the model as transformers builds it, on the meta device.
    """

    tokenizer: PreTrainedTokenizerBase
    context_length: int
    blank: PreTrainedModel


def load_reader(ref: str | Path, *, progress: Progress = silent) -> Reader:
    """The model's reader, in seconds; no weight is read. Raises InputError as ``load_model``."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = source_folder(ref, progress=progress)
    if not folder.is_dir():
        raise _no_folder(ref)
    _weight_files(folder)
    tokenizer = load_tokenizer(folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            blank = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # whatever the modelling code says of a configuration
        raise InputError(
            f"The model cannot be built: {_first_line(error)}.",
            remedy="Check that it is a causal language model whose architecture transformers "
            "knows and that needs no code of its own.",
            file=folder,
        ) from error
    length = getattr(config.get_text_config(), "max_position_embeddings", None)
    return Reader(tokenizer, _require_context(length, folder), blank)


def load_model(
    ref: str | Path | None = None,
    *,
    attention: Literal["sdpa", "eager"] = "sdpa",
    placement: Placement = PLAIN,
    whole: bool = True,
    progress: Progress = silent,
) -> LoadedModel:
    """Load ``ref``: None or ``"packaged"``, ``"packaged-aligned"``, a folder, or a hub id.

    ``attention="eager"`` is slower and can be differentiated twice on a CPU, which curvature
    needs. ``placement`` says where its weights lie and in which numbers; gradients and
    adapters need the ``whole`` of it at hand, reading does not. Only safetensors are read and no
    code of the model's own is run. Raises InputError for a folder or id that cannot be loaded so;
    an unreachable hub is reported within seconds.
    """

    def load(folder: Path, name: str, sha256: str | None = None) -> LoadedModel:
        loaded = _load_folder(folder, name, attention, placement, progress)
        require_at_hand(loaded.model, whole=whole, file=folder)
        return _told(replace(loaded, sha256=sha256 or loaded.sha256), placement)

    if ref is None or str(ref) == "packaged":
        return load(packaged_model_folder(progress=progress), PACKAGED_NAME)
    if str(ref) == "packaged-aligned":
        aligned = packaged_aligned_folder(progress=progress)
        return load(aligned, ALIGNED_NAME, aligned_sha256())
    folder = Path(ref).expanduser()
    if folder.is_dir():
        return load(folder, folder.resolve().name)
    if folder.exists():
        raise InputError(
            "This is a file, not a model.",
            remedy="Give the folder that holds config.json and the .safetensors files, "
            f"{USE_PACKAGED}.",
            file=folder,
        )
    if isinstance(ref, Path) or not is_hub_id(ref):
        raise _no_folder(ref)
    return load(hub_folder(ref), ref)


def _told(loaded: LoadedModel, placement: Placement) -> LoadedModel:
    """A rounded model is another one, and says so."""
    if placement.load_in == "fp32":
        return loaded
    digest = hashlib.sha256(f"{loaded.sha256} {placement.load_in}".encode()).hexdigest()
    note = f"{loaded.name} is loaded in {placement.load_in}: its linear modules are rounded to NF4."
    return replace(loaded, sha256=digest, notes=(*loaded.notes, note))


def _no_folder(ref: str | Path) -> InputError:
    return InputError(
        "There is no such model folder.",
        remedy=f"Check the path, give an id owner/name of the Hugging Face hub, {USE_PACKAGED}.",
        file=ref,
    )


def on_device(loaded: LoadedModel) -> LoadedModel:
    """The model on the GPU where there is one; a model that is on a GPU already stays there."""
    import torch

    is_on_cpu = next(loaded.model.parameters()).device.type == "cpu"
    is_spread = getattr(loaded.model, "hf_device_map", None) is not None
    if is_on_cpu and not is_spread and torch.cuda.is_available():
        cast("torch.nn.Module", loaded.model).to("cuda")
    return loaded


def _load_folder(
    folder: Path, name: str, attention: str, placement: Placement, progress: Progress
) -> LoadedModel:
    weights = _weight_files(folder)
    if placement.device_map is None:
        _require_room(weights, name, placement)
    for place in progress([folder], f"loading the model {name}"):
        tokenizer = load_tokenizer(place)
        model = _load_weights(place, attention, placement)
    context_length = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        name=name,
        sha256=_content_sha256(folder, weights, tokenizer.get_chat_template()),
        context_length=_require_context(context_length, folder),
    )


def _require_context(length: object, folder: Path) -> int:
    if not isinstance(length, int) or length < 2:
        raise InputError(
            "config.json does not say how long a row may be.",
            remedy='Add "max_position_embeddings", the context length in tokens.',
            file=folder,
        )
    return length


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of the model; raises InputError for what is not a whole model."""
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            raise InputError(
                "The folder holds an adapter, not a whole model.",
                remedy="Name its base model and give the folder as `adapter` where an adapter is "
                "taken; elsewhere merge it into the base (peft's merge_and_unload, then "
                "save_pretrained) and give that folder.",
                file=folder,
            )
        raise InputError(
            "The folder holds no config.json, so it is not a Hugging Face model.",
            remedy=f"Give a folder written by save_pretrained, {USE_PACKAGED}.",
            file=folder,
        )
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if not single.is_file() and index.is_file():
        names = _shards(index)
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise InputError(
                f"The weights are incomplete: {missing[0]} is missing "
                f"({len(missing)} of {len(names)} files).",
                remedy="Copy or download the model again.",
                file=folder,
            )
        if names:
            return [folder / name for name in names]
    if single.is_file():
        return [single]
    old = sorted(file.name for pattern in _OLD_WEIGHTS for file in folder.glob(pattern))
    if old:
        raise InputError(
            f"The weights are only there as {old[0]}; such files can run code when they are read, "
            "so only .safetensors are loaded.",
            remedy="If you trust them, convert once: AutoModelForCausalLM.from_pretrained(folder)"
            ".save_pretrained(new_folder), and copy the tokenizer's files beside them.",
            file=folder,
        )
    raise InputError(
        "The folder holds no weights: there is no model.safetensors.",
        remedy=f"Give a folder written by save_pretrained, {USE_PACKAGED}.",
        file=folder,
    )


def _shards(index: Path) -> list[str]:
    """The names of the files that an index of weights names."""
    found = read_json_object(index).get("weight_map")
    names: list[Any] = list(found.values()) if isinstance(found, dict) else [None]
    if wrong := [name for name in names if not isinstance(name, str) or Path(name).name != name]:
        raise InputError(
            f"The index of the weights names no file for a weight: {str(wrong[0])[:80]!r}.",
            remedy="Copy or download the model again.",
            file=index,
        )
    return sorted(set(names))


def load_tokenizer(folder: Path, *, template: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder, with a token to pad with.

    ``template`` is the chat template of one that has none of its own. Raises InputError for a
    tokenizer that cannot be loaded or has no chat template.
    """
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise InputError(
            "The model has no tokenizer: there is no tokenizer.json.",
            remedy="Put the tokenizer of its base model there: "
            "AutoTokenizer.from_pretrained(base).save_pretrained(folder).",
            file=folder,
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        tokenizer.chat_template = tokenizer.chat_template or template
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        tokenizer("Hello")
    except Exception as error:  # whatever the tokenizer's code says of its files
        raise InputError(
            f"The tokenizer cannot be loaded: {_first_line(error)}.",
            remedy="Copy it again, or write it anew with a recent transformers: "
            "AutoTokenizer.from_pretrained(base).save_pretrained(folder).",
            file=folder,
        ) from error
    try:
        found = tokenizer.get_chat_template()
        if not isinstance(found, str):
            raise ValueError("it is no text")
    except ValueError as error:
        raise InputError(
            "The tokenizer has no chat template, so it is not known how the model is asked and "
            "where its answers end.",
            remedy="Use an instruction-tuned model, or put a file chat_template.jinja into the "
            "folder.",
            file=folder,
        ) from error
    return tokenizer


def _require_room(weights: list[Path], name: str, placement: Placement) -> None:
    """Raises NeedsMemory where the weights do not fit into memory."""
    from safetensors import SafetensorError, safe_open

    from llm_validation.models.memory import require_memory

    need = 0.0
    for file in weights:
        try:
            with safe_open(file, framework="np") as opened:
                for key in opened.keys():  # noqa: SIM118 - it is no dictionary
                    tensor = opened.get_slice(key)
                    shape = tensor.get_shape()
                    size = 4.0 if "F" in tensor.get_dtype() else 1.0  # whole numbers: quantised
                    if placement.load_in == "4bit" and ".layers." in key and len(shape) == 2:
                        size = BYTES["nf4"]
                    need += size * math.prod(shape)
        except (SafetensorError, OSError):
            return  # loading says what is wrong with it
    require_memory(
        need,
        f"loading {name} in {'float32' if placement.load_in == 'fp32' else '4-bit numbers'}",
        remedy="Use a smaller model or a larger machine, or allow more `memory`.",
    )


def _load_weights(folder: Path, attention: str, placement: Placement) -> PreTrainedModel:
    import torch
    from transformers import AutoModelForCausalLM

    # Left to itself, transformers takes sdpa wherever the architecture has it.
    choice = {"sdpa": {}, "eager": {"attn_implementation": "eager"}}[attention]
    lies = loading_options(placement)
    try:
        with without_bars():
            read: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                **choice,
                **lies,
            )
            model, found = read
            placed(model, placement, lies)
    except (MemoryError, InputError):
        raise
    except Exception as error:  # whatever the model's code says of its files
        if "trust_remote_code" in str(error):
            raise InputError(
                "The model needs Python code of its own, which finebound does not run.",
                remedy=f"Use a model whose architecture transformers knows, {USE_PACKAGED}.",
                file=folder,
            ) from error
        raise InputError(
            f"The model cannot be loaded: {_first_line(error)}.",
            remedy="Check that it is a causal language model whose files are whole "
            "(copy or download it again), and that transformers knows its architecture.",
            file=folder,
        ) from error
    # transformers fills what is missing with random numbers and only warns.
    if absent := sorted(found["missing_keys"]):
        raise InputError(
            f"{len(absent)} weights that config.json asks for are missing, the first is "
            f"{absent[0]}.",
            remedy="The weights belong to another configuration; copy or download the model again.",
            file=folder,
        )
    return model.eval()


def is_hub_id(ref: str) -> bool:
    """Whether this is written as an id ``owner/name`` of the hub."""
    return bool(_HUB_ID.fullmatch(ref))


def source_folder(ref: str | Path, *, progress: Progress = silent) -> Path:
    """Where a model's or an adapter's files are: a folder, a packaged model, or a hub id.

    What is written as none of these is taken for a folder. Raises InputError for a hub id that is
    neither on this machine nor to be had.
    """
    place = Path(ref).expanduser()
    if place.exists():
        return place
    if str(ref) == "packaged":
        return packaged_model_folder(progress=progress)
    if str(ref) == "packaged-aligned":
        return packaged_aligned_folder(progress=progress)
    if isinstance(ref, Path) or not is_hub_id(ref):
        return place
    try:
        return hub_folder(ref)
    except InputError as error:
        raise InputError(
            error.what,
            remedy=f"Check the spelling, give a folder, or run `hf download {ref}` where there is "
            "a connection (after `hf auth login` if it is gated or private).",
        ) from error


def hub_folder(hub_id: str) -> Path:
    """The snapshot of a hub model: the newest where the hub answers, else what is cached.

    Raises InputError, within seconds, where there is neither.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    # Old weight formats and the repository's subfolders (other precisions) stay there.
    left_out = ["*/*", *_OLD_WEIGHTS, "*.gguf", "*.onnx"]
    try:
        # Asked first because it takes a time limit: behind a silent firewall the download does not.
        HfApi().model_info(hub_id, timeout=_HUB_ANSWERS_WITHIN)
        return Path(snapshot_download(hub_id, ignore_patterns=left_out))
    except Exception as error:  # blocked sockets, proxies, TLS: types of many packages
        failure = error
    try:
        return Path(snapshot_download(hub_id, ignore_patterns=left_out, local_files_only=True))
    except LocalEntryNotFoundError:
        raise _no_hub_model(hub_id, failure) from failure


def _no_hub_model(hub_id: str, failure: Exception) -> InputError:
    from huggingface_hub import errors

    fetch = f"`hf download {hub_id}`"
    if isinstance(failure, errors.GatedRepoError):
        return InputError(
            f"The model {hub_id} is gated, and you have no access to it.",
            remedy="Accept its terms on its page of the Hugging Face hub, run `hf auth login` and "
            f"then {fetch}, {USE_PACKAGED}.",
        )
    if isinstance(failure, errors.RepositoryNotFoundError):
        return InputError(
            f"The Hugging Face hub knows no model {hub_id}, or it is private.",
            remedy="Check the spelling (and that the folder exists, if you mean one); for a "
            f"private model run `hf auth login` and then {fetch}; {USE_PACKAGED}.",
        )
    why = (
        "HF_HUB_OFFLINE is set"
        if isinstance(failure, errors.OfflineModeIsEnabled)
        else f"could not be downloaded ({_first_line(failure)})"
    )
    return InputError(
        f"The model {hub_id} is not on this machine and {why}.",
        remedy=f"Where there is a connection, run {fetch} (after `hf auth login` if the model is "
        f"gated or private), {USE_PACKAGED}.",
    )


def _content_sha256(folder: Path, weights: list[Path], chat_template: str) -> str:
    """SHA-256 over configuration, weights, tokenizer and chat template, as 64 hex digits."""
    config = read_json_object(folder / "config.json")
    for key in ("transformers_version", "_name_or_path", "_model_name_or_path"):
        config.pop(key, None)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode() + b"\n")
    tokenizer = [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]
    for file in (*weights, *tokenizer):
        digest.update(f"{file.name} {_file_sha256(file)}\n".encode())
    digest.update(chat_template.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _file_sha256(file: Path) -> str:
    """SHA-256 of a file; remembered in the cache, for weights are gigabytes."""
    real = file.resolve()
    stat = real.stat()
    key = f"{real}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}"
    remembered = cache_folder() / "hashes" / hashlib.sha256(key.encode()).hexdigest()
    with suppress(OSError):
        known = remembered.read_text(encoding="ascii")
        if re.fullmatch(r"[0-9a-f]{64}", known):
            return known
    with real.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    with suppress(OSError):  # a cache that cannot be written only costs time
        remembered.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=remembered.parent)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(found)
        os.replace(temporary, remembered)
    return found


def read_json_object(file: Path, *, again: str = "the model") -> dict[str, Any]:
    """A file's JSON object; ``again`` is what to copy anew where there is none (InputError)."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"The file is not readable JSON: {_first_line(error)}.",
            remedy=f"Copy or download {again} again.",
            file=file,
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            "The file holds no JSON object.", remedy=f"Copy or download {again} again.", file=file
        )
    return content


def _first_line(error: BaseException) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return (text[:300] or type(error).__name__).rstrip(".")

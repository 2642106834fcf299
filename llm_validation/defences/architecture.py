"""A model's modules as transformers builds them: on the meta device, without any weight."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from finebound.base.errors import InputError
from llm_validation.measure.coordinates import is_linear, is_transposed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from llm_validation.defences.lora_file import LoraAdapter

_LAYERS = ("num_hidden_layers", "n_layer", "num_layers")


class Architecture:
    """Names, classes and parameters of the model that a folder's config.json describes.

    ``tensors`` is how many the folder's files hold: a configuration of more layers than tensors is
    of another model, and is refused before it is built. Raises InputError for an architecture
    that transformers does not know, and for a configuration that makes no model.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], *, role: str, tensors: int) -> None:
        self.folder, self.role = folder, role
        self._refuse_too_many_layers(config, tensors)
        self.model = self.build()

    def build(self) -> PreTrainedModel:
        """The model on the meta device, a new one each time."""
        import transformers

        try:
            with _silent():
                config = transformers.AutoConfig.from_pretrained(
                    self.folder, local_files_only=True, trust_remote_code=False
                )
                known = type(config) in transformers.AutoModelForCausalLM._model_mapping
                own = getattr(transformers, str((config.architectures or [""])[0]), None)
                with torch.device("meta"):
                    if known or own is None:
                        return transformers.AutoModelForCausalLM.from_config(
                            config, trust_remote_code=False
                        )
                    return own._from_config(config)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever the modelling code says of such numbers
            code = "trust_remote_code" in str(error)
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200].rstrip(".")
            raise InputError(
                f"The {self.role} model needs Python code of its own, which finebound does not run."
                if code
                else f"The {self.role} model's config.json describes no model that transformers "
                f"builds: {said}.",
                remedy="Give a folder written by save_pretrained, of an architecture that "
                "transformers knows.",
                file=self.folder / "config.json",
            ) from error

    @cached_property
    def state(self) -> dict[str, torch.Tensor]:
        """Every parameter and buffer by name, a tied one under each of its names."""
        return self.model.state_dict()

    @cached_property
    def parameters(self) -> dict[str, tuple[str, ...]]:
        """Every parameter once, with all names that it has."""
        names: dict[int, list[str]] = {}
        for name, parameter in self.model.named_parameters(remove_duplicate=False):
            names.setdefault(id(parameter), []).append(name)
        return {found[0]: tuple(found) for found in names.values()}

    @cached_property
    def linear(self) -> dict[str, bool]:
        """Linear modules, and whether each stores its weight as ``[d_in, d_out]``.

        That goes by the layer's class, as in PEFT, whatever an adapter's fan_in_fan_out says.
        """
        return {
            name: is_transposed(module)
            for name, module in self.model.named_modules()
            if is_linear(module)
        }

    def kind(self, module: str) -> str:
        """The class of a module, in words; empty where the model has none of this name."""
        found = dict(self.model.named_modules()).get(module)
        return "" if found is None else type(found).__name__

    def own_names(self, modules: Iterable[str]) -> dict[str, str]:
        """Each module's name in this model: an older version of it may have called it otherwise.

        A name that leads to no linear module stays as it is.
        """
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightRenaming, rename_source_key

        rules = get_model_conversion_mapping(self.model)
        renamings = [rule for rule in rules if isinstance(rule, WeightRenaming)]
        prefix, found = self.model.base_model_prefix, {}
        for module in modules:
            key = f"{module}.weight"
            own = rename_source_key(key, renamings, [], prefix, self.state)[0]
            own = own.removesuffix(".weight")
            found[module] = own if module not in self.linear and own in self.linear else module
        return found

    def adaptable(self) -> frozenset[str]:
        """Linear modules to which plain PEFT adds a LoRA where it is asked for just them.

        Not the head, nor what returns more than a linear map's image (a router that chooses
        experts). Modules that are called alike stand or fall together.
        """
        head = self.model.get_output_embeddings()
        alike: dict[str, set[str]] = {}
        for name in self.linear:
            module = self.model.get_submodule(name)
            if module is not head and _is_linear_map(module):
                alike.setdefault(name.rpartition(".")[2], set()).add(name)
        return frozenset().union(*(group for group in alike.values() if self._takes(group)))

    def require_loadable(self, adapter: LoraAdapter) -> None:
        """Raises InputError unless plain PEFT puts exactly the adapter's factors on this model."""
        from peft import PeftConfig, get_peft_model, set_peft_model_state_dict

        tensors = {name: tensor.to("meta") for name, tensor in adapter.tensors().items()}
        try:
            with _silent():
                config = PeftConfig.from_peft_type(**adapter.settings())
                wrapped = get_peft_model(self.build(), config, low_cpu_mem_usage=True)
                found = set_peft_model_state_dict(wrapped, tensors, low_cpu_mem_usage=True)
            left = [*found.unexpected_keys, *(k for k in found.missing_keys if ".lora_" in k)]
            said = f"{left[0]} is missing or left over" if left else ""
        except Exception as error:  # PEFT's refusals are of many kinds
            said = " ".join(f"{error}".split())[:200].rstrip(".") or type(error).__name__
        if said:
            raise InputError(
                f"This version of PEFT does not load such an adapter on the {self.role} model: "
                f"{said}.",
                remedy="Fine-tune a LoRA on modules that it adapts by their own names, such as the "
                "attention's projections.",
                file=adapter.folder,
            )

    def _takes(self, modules: Iterable[str]) -> bool:
        from peft import LoraConfig, get_peft_model
        from peft.tuners.lora import LoraLayer

        modules = set(modules)
        try:
            with _silent():
                asked = LoraConfig(r=1, target_modules=sorted(modules))
                wrapped = get_peft_model(self.build(), asked, low_cpu_mem_usage=True)
        except Exception:  # PEFT's refusals are of many kinds
            return False
        found = wrapped.get_base_model().named_modules()
        return {name for name, module in found if isinstance(module, LoraLayer)} == modules

    def _refuse_too_many_layers(self, config: Mapping[str, Any], tensors: int) -> None:
        parts = [config, *(part for part in config.values() if isinstance(part, Mapping))]
        for part in parts:
            for key in _LAYERS:
                value = part.get(key)
                if isinstance(value, int) and value > tensors:
                    raise InputError(
                        f"The {self.role} model's config.json says {key} {value}, and its files "
                        f"hold {tensors} tensors: they are not of the same model.",
                        remedy="Copy or download the model again.",
                        file=self.folder / "config.json",
                    )


@contextmanager
def _silent() -> Iterator[None]:
    """Without the libraries' remarks on a model that nobody runs, and flags that they correct."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    try:
        logging.set_verbosity(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)


def _is_linear_map(module: nn.Module) -> bool:
    """Whether the module gives one tensor of its outputs, whatever its class is called."""
    weight = cast(Tensor, module.weight)
    shape = tuple(weight.shape)
    d_in, d_out = shape if is_transposed(module) else shape[::-1]
    try:
        image = module(torch.empty(1, 2, d_in, device="meta", dtype=weight.dtype))
    except Exception:  # a class of its own may ask for anything
        return False
    return isinstance(image, torch.Tensor) and tuple(image.shape) == (1, 2, d_out)

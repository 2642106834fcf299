"""Callbacks in axolotl, by its configuration: ``plugins: [finebound.axolotl.FineboundPlugin]``.

The section ``finebound`` of the same file says what to watch and to keep
(``llm_validation.callbacks.settings:callbacks_of``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, field_validator

if TYPE_CHECKING:
    from transformers import TrainerCallback

try:
    from axolotl.integrations.base import BasePlugin  # pyright: ignore[reportMissingImports]
except ModuleNotFoundError:  # axolotl alone calls the plugin
    BasePlugin = object


class FineboundArgs(BaseModel):
    """What the plugin adds to axolotl's own keys."""

    finebound: dict[str, Any] | None = None

    @field_validator("finebound")
    @classmethod
    def _known(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        """Raises InputError for an unknown key, before anything is loaded."""
        _callbacks(value)
        return value


class FineboundPlugin(BasePlugin):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
    """Hands axolotl's trainers, supervised or by preferences, the callbacks of the section."""

    def get_input_args(self) -> str:
        """The class with the plugin's keys, by its path."""
        return f"{__name__}.{FineboundArgs.__name__}"

    def add_callbacks_pre_trainer(self, cfg: Any, model: Any) -> list[TrainerCallback]:
        """The callbacks for the trainer's constructor. Raises InputError for a wrong section."""
        return _callbacks(cfg.get("finebound"))


def _callbacks(section: Mapping[str, Any] | None) -> list[TrainerCallback]:
    from llm_validation.callbacks.settings import callbacks_of

    return callbacks_of(section)

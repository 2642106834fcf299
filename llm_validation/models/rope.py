"""Rotary positions whose factors depend on how long the longest row of a batch is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

_ORIGINAL = "original_max_position_embeddings"
_LONGER = ("longrope", "su", "dynamic")  # types that turn all positions otherwise in long rows


def rope_switch(model: nn.Module) -> int | None:
    """The length in tokens above which a row is read with other factors; None if there is none.

    Rows on both sides of it must not be read together, nor a row in two parts.
    """
    config: Any = getattr(model, "config", None)
    if not hasattr(config, "get_text_config"):
        return None
    config = config.get_text_config()
    given = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None)
    if not isinstance(given, Mapping):
        return None
    # One set, or one for each kind of layer.
    sets = [given, *(one for one in given.values() if isinstance(one, Mapping))]
    switches = [_switch(one, config) for one in sets]
    return min((switch for switch in switches if switch is not None), default=None)


def _switch(parameters: Mapping[str, Any], config: Any) -> int | None:
    if parameters.get("rope_type", parameters.get("type")) not in _LONGER:
        return None
    places = (parameters, vars(config))
    found = next((p[_ORIGINAL] for p in places if isinstance(p.get(_ORIGINAL), int)), None)
    return found or config.max_position_embeddings

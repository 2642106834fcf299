"""What other packages would report of their use is switched off, unless a user says otherwise."""

from __future__ import annotations

from collections.abc import MutableMapping

OFF = {
    "DO_NOT_TRACK": "1",  # axolotl, vLLM, MLflow and others
    "HF_HUB_DISABLE_TELEMETRY": "1",  # transformers, datasets, TRL, trackio
    "RAY_USAGE_STATS_ENABLED": "0",
    "GRADIO_ANALYTICS_ENABLED": "False",  # trackio's page
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "VLLM_NO_USAGE_STATS": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
}
"""Variables of the environment, and the value that sends nothing."""


def switch_off(environment: MutableMapping[str, str]) -> None:
    """Set what is not set; a user's own setting stays."""
    for name, value in OFF.items():
        environment.setdefault(name, value)

"""JAX as the toy models need it: 64-bit. Import this before using ``jax.numpy``.

An accelerator is used where JAX has one; without a plugin for one, JAX is told so at once, and
does not warn that it looked in vain. ``JAX_PLATFORMS`` overrides both.
"""

from __future__ import annotations

import importlib.util
import os
from contextlib import suppress
from importlib.metadata import entry_points

import jax

jax.config.update("jax_enable_x64", True)
# What is float32 (the transformer) is not rounded further by a GPU's matrix units.
jax.config.update("jax_default_matmul_precision", "highest")
# The audit's processes share an accelerator: none of them takes its memory in advance.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
# jax makes its settings into attributes when it is imported.
if not jax.config.jax_platforms and not (  # pyright: ignore[reportAttributeAccessIssue]
    importlib.util.find_spec("jax_plugins") or entry_points(group="jax_plugins")
):
    jax.config.update("jax_platforms", "cpu")


def one_device_a_core() -> None:
    """Let JAX see each processor core as a device, for sweeps to share work over them.

    Does nothing once JAX has computed something, or where XLA_FLAGS say how many there are.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    allowed = getattr(os, "sched_getaffinity", None)  # Linux has it
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    with suppress(RuntimeError):  # JAX is already at work
        jax.config.update("jax_num_cpu_devices", cores)

"""JAX as the audit needs it: 64-bit, on the processor. Import this before using ``jax.numpy``."""

from __future__ import annotations

import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")

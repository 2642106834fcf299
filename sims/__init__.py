"""Toy families that try to break the bounds: exact gaps, audits, adversarial search (JAX)."""

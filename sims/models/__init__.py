"""Toy model classes that are trained: each with exact population losses, one interface."""

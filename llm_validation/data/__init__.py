"""Datasets: loading, catalogue, chat encoding."""

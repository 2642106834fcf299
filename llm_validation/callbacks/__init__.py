"""Callbacks for other people's trainers: ``finebound.trl`` is their public name."""

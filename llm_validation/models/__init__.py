"""Real models: loading, the packaged one, adapters."""

"""Real text and real models, measured against the bounds."""

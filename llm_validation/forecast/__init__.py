"""Forecasts of what a fine-tune will do to safety and capability, and how well they rank."""

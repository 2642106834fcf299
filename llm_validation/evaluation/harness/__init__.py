"""Other people's evaluation harnesses: lm-evaluation-harness and inspect_ai."""

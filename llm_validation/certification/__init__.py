"""Certificates: what a fine-tuned model may have lost of its safe answers, at most."""

"""Fine-tuning under the strategies of ``theory.strategy`` on Hugging Face's ``Trainer``."""

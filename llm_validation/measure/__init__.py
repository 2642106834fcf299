"""What is measured on real text and models."""

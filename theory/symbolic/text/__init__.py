"""The words and formulas of docs/theorems.md, one module for each part of the theory."""

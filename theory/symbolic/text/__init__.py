"""The words and formulas of docs/theorems.md, one Markdown file for each statement."""

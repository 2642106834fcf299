"""The identities behind the statements, proved by sympy, and the text of docs/theorems.md."""

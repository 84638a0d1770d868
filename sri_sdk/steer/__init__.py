"""Steering: directions in a model's residual stream, and what changes states along them while the model generates.

arXiv 2512.24143. Needs the `capture` extra, except for `direction.py`.
"""

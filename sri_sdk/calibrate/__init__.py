"""Thresholds with a guarantee: split conformal, for finished generations and for running ones."""

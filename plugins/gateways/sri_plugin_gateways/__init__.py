"""Gateways and guardrail frameworks look verdicts up: `gate.py` decides, each other module fits one framework."""

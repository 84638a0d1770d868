"""Hooks for Nemotron-Labs-Diffusion: see the README beside this package."""

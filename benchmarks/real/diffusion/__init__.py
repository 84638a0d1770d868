"""A masked diffusion model made from a causal checkpoint; `benchmarks/real/diffusion.md` says how well that went."""

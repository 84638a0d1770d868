"""Plugin for SDAR, TraDo and Fast-dLLM v2: block diffusion with a key-value cache."""

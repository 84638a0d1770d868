"""Plugin for masked language models, used as masked diffusion models."""

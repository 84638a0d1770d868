"""Plugin for DiffusionGemma."""

"""Plugin for prompts from JSON lines, and a judge that knows refusals by their phrases."""

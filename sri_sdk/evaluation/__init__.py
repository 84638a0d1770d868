"""From the YAML file of an evaluation to its results: prompts, generations, guards, metrics."""

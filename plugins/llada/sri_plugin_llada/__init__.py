"""Plugin for LLaDA, LLaDA-1.5, iLLaDA, LLaDA-MoE and MMaDA."""

"""The guard on a published model: weights and prompts that packages ship, no hub (`make real`)."""

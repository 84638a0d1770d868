"""The toy plugin: the smallest real hook, sampler and detector. Copy this folder to start your own."""

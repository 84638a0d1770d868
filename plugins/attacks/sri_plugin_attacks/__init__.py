"""Published jailbreak transforms, as plugins: what a guard is tested on. Texts are ours, short and overridable."""

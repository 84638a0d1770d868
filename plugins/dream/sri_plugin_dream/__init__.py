"""Plugin for Dream, DiffuCoder and Dream-Coder."""

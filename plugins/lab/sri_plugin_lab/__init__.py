"""The lab: two small real transformers that refuse harmful requests in a make-believe village, and can be talked round.

Importing this package costs nothing: `world` is pure Python; `models`, `train` and `measure` bring torch when imported.
"""

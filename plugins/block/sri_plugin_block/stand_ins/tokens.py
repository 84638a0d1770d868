"""Special tokens of the stand-ins."""

PAD, END, OTHER_END, MASK = 0, 1, 2, 95

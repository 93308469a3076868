"""Gradient training: the loop, its steps, its checkpoints and its callbacks. Needs torch.

Begin to read at `loop.py`, whose docstring names the files in the order in which a step meets them.
"""

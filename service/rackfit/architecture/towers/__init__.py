"""Vision towers and their projectors: one file each, all tensors of component "vision".

A tower is read from three things: the config's vision section, the config itself (projectors
keep their settings there) and the width of the language model.
"""

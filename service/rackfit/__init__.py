"""Rackfit: will this model fit on these machines, and how should it be split?"""

__version__ = "0.1.0"

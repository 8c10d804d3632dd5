"""Answers as text for an 80-column terminal: `table` and `screen` lay out, one module a topic."""

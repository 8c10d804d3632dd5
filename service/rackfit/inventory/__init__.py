"""Nodes and their accelerators, and readers of foreign formats."""

"""Answers kept by content, in process and in Redis."""

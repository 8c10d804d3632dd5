"""The server: listening, connections and their limits, serving processes and their end.

`serving` runs one process, `supervisor` several; `protocol` is what uvicorn speaks HTTP with.
"""

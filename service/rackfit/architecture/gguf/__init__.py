"""GGUF, llama.cpp's file format: what its quantizer would store, and what a real header says."""

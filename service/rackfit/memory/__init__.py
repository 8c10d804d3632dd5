"""How many bytes: weights, KV cache, activations, engine overhead."""

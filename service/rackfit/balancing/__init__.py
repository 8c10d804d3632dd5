"""Experts on ranks by measured load: replicas, places, and a bound on how good any can be."""

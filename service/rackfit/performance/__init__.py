"""How fast: roofline and communication."""

"""What a model is, read from foreign formats."""

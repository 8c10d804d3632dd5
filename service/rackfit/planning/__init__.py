"""Search, placement and ranking of splits on an inventory."""

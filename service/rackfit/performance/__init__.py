"""How fast: a roofline by operator, and what engines were measured to reach of it."""

"""What serving engines allow and take: one file per engine."""

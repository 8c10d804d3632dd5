"""Who may ask: keys and signed tokens, their scopes, and how often each caller may."""

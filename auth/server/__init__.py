"""The authorization server's endpoints: the only part of auth that knows HTTP."""

"""Pages for people: the citizen's book."""

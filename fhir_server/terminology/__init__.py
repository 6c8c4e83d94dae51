"""Code systems and value sets: which codes there are, which are below which, which are in a set."""

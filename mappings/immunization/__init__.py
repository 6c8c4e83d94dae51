"""The national immunisation programme: its schedule as dated data."""

"""The distributed engine: MongoDB."""

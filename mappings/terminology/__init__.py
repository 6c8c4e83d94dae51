"""Code tables: load and apply."""

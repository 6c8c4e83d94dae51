"""From a query string to an expression, and from a resource to index values."""

"""The sixteen fields as JSON or CSV, for a clinic that has no more."""

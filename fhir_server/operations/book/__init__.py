"""The e-health book: what it says, and how it is written down."""

"""POST /submissions and its receipts, over the formats beside it."""

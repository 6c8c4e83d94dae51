"""The claim rules, pure: one file a family."""

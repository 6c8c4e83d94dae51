"""The demo's OpenID provider, which stands for VNeID."""

"""The citizen's identity provider, as an OpenID Connect relying party."""

"""Checks of built payloads: their parts, and whether a second build is the same."""

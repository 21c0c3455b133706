"""Checks of payloads, and the comparison with a second build."""

"""Versions: new ones upstream, and what is outdated."""

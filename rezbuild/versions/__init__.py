"""Versions: the table, new ones upstream, outdated packages, signatures."""

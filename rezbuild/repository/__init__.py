"""Rez repositories: what is installed there, and how it gets there as a whole."""

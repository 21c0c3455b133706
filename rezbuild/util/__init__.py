"""Helpers that do not depend on packages or recipes."""

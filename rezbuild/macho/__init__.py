"""Programs and libraries of macOS."""

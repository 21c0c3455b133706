"""Where archives of sources come from."""

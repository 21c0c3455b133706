"""Pages about payloads and repositories: one HTML file that loads nothing."""

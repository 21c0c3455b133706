"""Download and verification of sources."""

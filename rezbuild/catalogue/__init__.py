"""What can be built: the versions in sources.toml, and the years of the VFX Reference Platform."""

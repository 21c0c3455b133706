"""The catalogue: versions in sources.toml, and years of the VFX Reference Platform."""

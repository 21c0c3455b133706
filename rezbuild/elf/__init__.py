"""ELF files: what they need, export and how they are hardened."""

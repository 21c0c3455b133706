"""ELF files: needed libraries, symbols and hardening."""

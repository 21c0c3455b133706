"""The parts of rezbuild that Rez loads: package definitions, build command, build process."""

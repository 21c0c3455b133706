"""One build: the interface of recipes, the toolchain, and the steps from sources to a payload."""

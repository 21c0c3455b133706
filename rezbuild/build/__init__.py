"""One build: the API of recipes, the toolchain, and the pipeline from sources to a payload."""

"""Plans: the steps to build, their order and durations."""

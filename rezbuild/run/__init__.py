"""Plans as they run: what is built when, and what users see of it."""

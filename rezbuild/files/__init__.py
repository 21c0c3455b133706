"""Files and folders: archives, patches, locks, swaps, owners."""

"""What is true of an installed payload: its records, and texts and rpaths that fit any place."""

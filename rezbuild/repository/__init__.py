"""Rez repositories: installed packages, and the staging of new ones."""

"""What Rez loads of rezbuild: the definitions of packages."""

"""The command line.

Each command is a module with `EPILOG`, the end of its help text, ``add_arguments(parser)``, and
``run(arguments)``, which returns the exit code. `main` imports the module of a command when the
command is called.
"""

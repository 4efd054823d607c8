"""The command line: a thin face of the library, one file a command group.

Nothing here imports torch until a command runs.
"""

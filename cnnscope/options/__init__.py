"""Options as data: one frozen dataclass per family of options, shared by the command line and the Python API.

A field carries its type in Python, its default, and how the command line spells and explains it (`typer.Option`).
"""

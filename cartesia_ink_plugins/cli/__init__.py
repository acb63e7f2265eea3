"""The command line: `cartesia-ink demo | talk | transcribe | serve | doctor | timeline`.

Each command has a module of its own, which imports what it needs when it runs, so that
`cartesia-ink --help` works whatever is installed.
"""

"""The checks of `cartesia-ink doctor`, a file for each thing that is looked at.

Each gives findings and raises nothing: what cannot be checked is a finding, too.
"""

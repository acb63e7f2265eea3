"""The Ink protocol, known to no framework.

Read in the order of dependency: `events`, `errors`, `options`, `turns`, `audio`, `ledger`,
`speech`, `session`, `client`.
"""

"""The Ink protocol, known to no framework.

Read in the order of dependency. What is said and asked for: `events`, `errors`, `options`, `turns`,
`audio`. What a session stands on: `ledger`, `pacing`, `link` (the audio and its connection),
`speech`, `listening` (what the audio itself says), `conversation`, `recovery` (the turns, and what
to replay), `lifecycle` (what becomes of connections). Then `session`, without IO, and what drives
it: `connection`, `driver`, `client`. `manual`, on `segment`, `flushes` and `dictation`, is the same
for the endpoint without turns; `batch` is for whole files.
"""

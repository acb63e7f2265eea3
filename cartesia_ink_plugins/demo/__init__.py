"""The offline bot and the call of `cartesia-ink demo`; without key and network.

A rule-based assistant that books tables (`booking`), an offline voice (`voice`), a recorded caller
(`caller`), and a telephone call between them (`telephone`). `pipecat_services` and
`livekit_services` are the assistant and the voice as services of the two frameworks;
`pipecat_call` and `livekit_call` run one call each.
"""

"""The offline bot's parts, and the conversation that `cartesia-ink demo` plays.

Nothing here needs a key or a network: a rule-based assistant that books tables (`booking`), an
offline voice (`voice`), a recorded caller (`caller`), and a telephone line between them
(`telephone`). `pipecat_services` and `livekit_services` dress the assistant and the voice as
services of the two frameworks; `pipecat_call` and `livekit_call` hold one conversation each.
"""

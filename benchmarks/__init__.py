"""All that measures, beside the frameworks' own classes; not part of the wheel.

    make bench-pipecat     CPU, memory and delays of a stream in a Pipecat pipeline
    make bench-livekit     the same in LiveKit
    make bench-manual      `finalize` over the bare socket, and push-to-talk in LiveKit
    make bench-engine      the local server's speech engine, on real speech
    make bench-end-of-turn how soon and how rightly that engine ends turns

    python -m benchmarks.counts  what a stream takes, in numbers that a busy machine does not change

Each is a module with a `--help` of its own: `python -m benchmarks.pipecat_streams --help`.
"""

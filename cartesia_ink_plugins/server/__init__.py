"""A faithful local Ink server: real turns, no key, no network.

Read in the order of dependency: `engine` (what hears the audio), `validate` (what a connection may
ask for), `turns_endpoint` (one connection, sans-IO), `app` (the server itself); beside them `voice`
and `script` (the engine of tests), `faults` (how a network goes wrong) and `speech` (real
recognition).
"""

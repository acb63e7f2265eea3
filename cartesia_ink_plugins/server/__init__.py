"""A faithful local Ink server: real turns, no key, no network.

In the order of dependency: `engine` (the interface of recognition), `rules` and `validate`
(requests), `frames` and `frame_writer` (WebSocket frames), `endpoint`, `turns_endpoint` and
`manual_endpoint` (one connection, without IO), `driver` and `app` (the server).

The engines are `script` (for tests: `coded_speech`, `cues`, `script_turns`, `script_manual`) and
`speech` (real recognition). `faults` are injected by `proxy` at the times of `fault_plan`.
"""

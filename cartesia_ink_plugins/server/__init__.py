"""A faithful local Ink server: real turns, no key, no network.

Read in the order of dependency: `engine` (what hears the audio), `rules` and `validate` (what a
connection may ask for), `frames` and `wire` (how it is written), `exchange` and `turns_endpoint`
(one connection, without IO), `driver` and `app` (the server itself).

Beside them stand the engines, `script` (tests: `voice`, `cues`, `script_ear`) and `speech` (real
recognition), and how a network goes wrong: `faults` (what), `fault_plan` (when), `proxy` (played).
"""

"""The Ink protocol, known to no framework.

Read in the order of dependency:

- the vocabulary, flat in this folder: `errors`, `events`, `wire`, `audio`, `models`, `options`,
  `credentials`, `text`, `turn_table`, `stats`, `log`, `tap`;
- `stream`: one audio stream over many connections, which knows no endpoint;
- `turns` and `manual`: the two streaming endpoints, without IO, with the same file names;
- `net`: asyncio, sockets and clocks, and the clients.
"""

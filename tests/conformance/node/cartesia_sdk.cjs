// Cartesia's TypeScript SDK, as its users run it, against any server. The argument is a task in
// JSON, the input raw 16-bit mono audio; it prints the texts that the SDK's user gets, in JSON.
const { Cartesia } = require("@cartesia/cartesia-js");

const task = JSON.parse(process.argv[2]);
const CHUNK_SECONDS = 0.1;

async function* chunks(pcm) {
  const size = Math.floor(task.rate * CHUNK_SECONDS) * 2;
  const started = performance.now();
  for (let start = 0, number = 1; start < pcm.length; start += size, number += 1) {
    yield pcm.subarray(start, start + size);
    const due = started + number * CHUNK_SECONDS * 1000;
    if (task.real_time) await new Promise((go) => setTimeout(go, due - performance.now()));
  }
}

const connectOptions = () => ({
  model: task.model,
  encoding: "pcm_s16le",
  sample_rate: task.rate,
  ...(task.version ? { cartesia_version: task.version } : {}),
});

// One text for each `turn.end`.
async function turns(client, pcm) {
  const socket = client.stt.autoFinalize.websocket({
    keyterm: ["table for two"],
    ...connectOptions(),
  });
  const texts = [];
  socket.on("turn.end", (event) => texts.push(event.transcript));
  const closed = new Promise((close, fail) => {
    socket.on("close", close);
    socket.on("error", fail);
  });
  for await (const chunk of chunks(pcm)) socket.sendRaw(chunk);
  socket.send({ type: "close" });
  await closed;
  return texts;
}

// One text for each `flush_done`.
async function manual(client, pcm) {
  const socket = client.stt.manualFinalize.websocket(connectOptions());
  const texts = [];
  let text = "";
  let flushed;
  socket.on("transcript", (event) => (text += event.text));
  socket.on("flush_done", () => flushed());
  const done = new Promise((finish, fail) => {
    socket.on("done", finish);
    socket.on("error", fail);
  });
  let start = 0;
  for (const size of task.pieces) {
    for await (const chunk of chunks(pcm.subarray(start, start + size))) socket.sendRaw(chunk);
    start += size;
    const flush = new Promise((resolve) => (flushed = resolve));
    socket.send("finalize");
    await Promise.race([flush, done]);
    texts.push(text);
    text = "";
  }
  socket.send("close");
  await done;
  return texts;
}

async function main() {
  const input = [];
  for await (const chunk of process.stdin) input.push(chunk);
  const client = new Cartesia({ apiKey: "sk_test", baseURL: task.url });
  const run = { turns, manual }[task.endpoint];
  console.log(JSON.stringify(await run(client, Buffer.concat(input))));
}

main();

// LiveKit's Cartesia plugin for Node, as an agent uses it, against any server. The argument is a
// task in JSON, the input raw 16-bit mono audio; it prints the final transcripts, in JSON.
import { initializeLogger, stt } from "@livekit/agents";
import { STT } from "@livekit/agents-plugin-cartesia";
import { AudioFrame } from "@livekit/rtc-node";

const task = JSON.parse(process.argv[2]);
const CHUNK_SECONDS = 0.1;

async function speak(stream, samples) {
  const size = Math.floor(task.rate * CHUNK_SECONDS);
  const started = performance.now();
  for (let start = 0, number = 1; start < samples.length; start += size, number += 1) {
    const piece = samples.slice(start, start + size);
    stream.pushFrame(new AudioFrame(piece, task.rate, 1, piece.length));
    const due = started + number * CHUNK_SECONDS * 1000;
    if (task.real_time) await new Promise((go) => setTimeout(go, due - performance.now()));
  }
  stream.endInput();
}

initializeLogger({ pretty: false, level: "fatal" });
const input = [];
for await (const chunk of process.stdin) input.push(chunk);
const pcm = Buffer.concat(input);
const samples = new Int16Array(pcm.buffer, pcm.byteOffset, pcm.length / 2);

const recognizer = new STT({
  apiKey: "sk_test",
  baseUrl: task.url,
  model: task.model,
  sampleRate: task.rate,
});
const stream = recognizer.stream();
const speaking = speak(stream, samples);
const texts = [];
for await (const event of stream) {
  if (event.type === stt.SpeechEventType.FINAL_TRANSCRIPT) texts.push(event.alternatives[0].text);
}
await speaking;
console.log(JSON.stringify(texts));
process.exit(0); // the native library of LiveKit's SDK keeps the event loop running

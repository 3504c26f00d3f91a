// Recording: the microphone as it is, a click at an exact tempo, and the delay between the two taken out.
//
// Samples are kept as they come (no lossy codec in between) and become a WAV. With a click, the recording
// begins one beat before the first bar, and the click's grid is the beats of the lead sheet; chords that were
// sung to are its chords.

import Record from "./vendor/record.esm.js";
import WaveSurfer from "./vendor/wavesurfer.esm.js";
import { service } from "./service.js";
import { chordAt, clickAt } from "./synth.js";
import { tapper } from "./tap.js";
import { WORDS } from "./words.js";

const $ = (id) => document.getElementById(id);
const NOTES = ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];
const MOST_SECONDS = 600;
const AHEAD_SECONDS = 0.3;
const CALIBRATION_CLICKS = 5;
const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };

let session = null;
let measured = null; // seconds, if it was measured

export function openRecorder(done, complain) {
  const tap = tapper((bpm) => { $("record-tempo").value = bpm; }, () => null);
  $("record-tap").onpointerdown = tap;
  $("record-drone").replaceChildren(new Option(WORDS.no_drone, ""), ...NOTES.map((note, index) => new Option(note, index)));
  $("record-start").onclick = () => begin(complain);
  $("record-stop").onclick = () => { const recording = stop(); if (recording) done(recording); };
  $("latency-measure").onclick = () => measure(complain);
  $("record-close").addEventListener("click", close, { once: true });
  $("back").addEventListener("click", close, { once: true });
}

async function listenIn(complain) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: RAW });
  } catch {
    complain(WORDS.no_microphone);
    return null;
  }
  const context = new AudioContext();
  await context.resume();
  await context.audioWorklet.addModule("/page/worklet.js");
  const tape = new AudioWorkletNode(context, "tape", { numberOfOutputs: 0 });
  context.createMediaStreamSource(stream).connect(tape);
  const found = { stream, context, tape, parts: [], startFrame: null };
  tape.port.onmessage = ({ data }) => {
    found.startFrame ??= data.frame;
    found.parts.push(data);
    let peak = 0;
    for (const sample of data.samples) peak = Math.max(peak, Math.abs(sample));
    found.peak = Math.max(peak, (found.peak ?? 0) * 0.97);
    $("record-level").value = found.peak;
  };
  return found;
}

function delay(found) {
  if (measured !== null) return measured;
  const input = found.stream.getAudioTracks()[0].getSettings().latency ?? 0;
  return (found.context.outputLatency || 0) + (found.context.baseLatency || 0) + input;
}

async function begin(complain) {
  let chart = null;
  const chords = $("record-chords").value.trim();
  if (chords) {
    try {
      chart = await service.chart({ chords, tempo_bpm: Number($("record-tempo").value), meter: $("record-meter").value });
    } catch (error) { complain(error); return; }
  }
  session = await listenIn(complain);
  if (!session) return;
  session.chart = chart?.chords.length ? chart : null;
  session.nextChord = 0;
  const { context, stream } = session;
  const [beats] = $("record-meter").value.split("/").map(Number);
  session.meter = $("record-meter").value;
  session.perBar = session.meter === "6/8" ? 2 : beats;
  session.period = 60 / Number($("record-tempo").value);
  session.hasClick = $("record-click").checked;
  const counts = $("record-count").checked ? session.perBar : 1;
  session.firstBar = context.currentTime + 0.4 + counts * session.period;
  session.next = -counts;
  session.timer = setInterval(() => schedule(counts), 60);
  if ($("record-drone").value !== "") drone(session, Number($("record-drone").value));
  show(true);
  const meta = document.querySelector("meta[name=nonce]").content;
  session.wave = WaveSurfer.create({ container: $("record-wave"), height: 78, cspNonce: meta, cursorWidth: 0, waveColor: getComputedStyle(document.documentElement).getPropertyValue("--played").trim() });
  session.picture = session.wave.registerPlugin(Record.create({ scrollingWaveform: true, renderRecordedAudio: false }));
  session.micro = session.picture.renderMicStream(stream);
}

function schedule(counts) {
  const { context, firstBar, period } = session;
  const since = context.currentTime - firstBar;
  const passed = `${Math.floor(since / 60)}:${String(Math.floor(since) % 60).padStart(2, "0")}`;
  $("record-time").textContent = since < 0 ? WORDS.record_counting : WORDS.record_on(passed);
  while (firstBar + session.next * period < context.currentTime + AHEAD_SECONDS) {
    const isCounting = session.next < 0;
    if (session.hasClick || (isCounting && counts > 1)) {
      const first = ((session.next % session.perBar) + session.perBar) % session.perBar === 0;
      clickAt(0, first).play(context, firstBar + session.next * period, context.destination);
    }
    session.next += 1;
  }
  if (session.chart) playChart();
  if (since > MOST_SECONDS - 5) $("record-stop").click();
}

function playChart() {
  const { chart, context, firstBar } = session;
  for (;;) {
    const chord = chart.chords[session.nextChord % chart.chords.length];
    const at = firstBar + Math.floor(session.nextChord / chart.chords.length) * chart.seconds + chord.start;
    if (at >= context.currentTime + AHEAD_SECONDS) return;
    if (chord.notes.length) chordAt(0, chord.end - chord.start, chord.notes).play(context, at, context.destination);
    session.nextChord += 1;
  }
}

function drone(found, pitchClass) {
  const gain = found.context.createGain();
  gain.gain.value = 0.05;
  gain.connect(found.context.destination);
  for (const note of [48, 55]) {
    const tone = found.context.createOscillator();
    tone.type = "triangle";
    tone.frequency.value = 440 * 2 ** ((note + pitchClass - 69) / 12);
    tone.connect(gain);
    tone.start();
  }
}

function stop() {
  const { context, parts, startFrame, firstBar, period, perBar, meter, hasClick, chart } = session;
  const rate = context.sampleRate;
  const from = Math.max(0, Math.round((firstBar - period + delay(session)) * rate) - (startFrame ?? 0));
  const samples = joined(parts, startFrame ?? 0);
  close();
  const sung = samples.subarray(Math.min(from, samples.length));
  if (sung.length < rate / 2) return null;
  const seconds = sung.length / rate;
  let given = null;
  if (hasClick || chart) {
    const beats = [];
    for (let number = 0; number * period < seconds - 1e-6; number += 1) beats.push([number * period, ((number + perBar - 1) % perBar) + 1]);
    given = { format: "hafm-lead-sheet", version: 1, duration_seconds: seconds, beats, meters: [[0, meter]] };
    if (chart) given.chords = repeated(chart, period, seconds);
  }
  const now = new Date();
  const here = new Date(now - 60_000 * now.getTimezoneOffset()); // its ISO form shows the clock on the wall
  const name = WORDS.recording(here.toISOString().slice(0, 16).replace("T", " "));
  return { blob: wav(sung, rate), name, given };
}

// The chords of a chart from `first` on, again and again to the end.
function repeated(chart, first, seconds) {
  const spans = [];
  for (let from = first; from < seconds; from += chart.seconds) {
    for (const [start, end, label] of chart.sheet.chords) {
      if (from + start < seconds - 1e-6) spans.push([from + start, Math.min(from + end, seconds), label]);
    }
  }
  return spans;
}

// Parts by the time at which they came: where the computer lost some, there is silence.
function joined(parts, startFrame) {
  const last = parts[parts.length - 1];
  const samples = new Float32Array(last ? last.frame - startFrame + last.samples.length : 0);
  for (const part of parts) samples.set(part.samples, part.frame - startFrame);
  return samples;
}

function show(isRecording) {
  $("record-start").hidden = isRecording;
  $("record-stop").hidden = !isRecording;
  for (const id of ["tempo", "tap", "meter", "click", "count", "drone", "chords"]) $(`record-${id}`).disabled = isRecording;
  $("latency-measure").disabled = isRecording;
}

function close() {
  if (session) {
    clearInterval(session.timer);
    session.micro?.onDestroy?.();
    session.wave?.destroy();
    for (const track of session.stream.getTracks()) track.stop();
    session.context.close();
    session = null;
  }
  show(false);
  $("record-level").value = 0;
  $("record-time").textContent = "0:00";
}

// Clicks out of the loudspeaker into the microphone: the middle one of their delays is the machine's.
async function measure(complain) {
  const found = await listenIn(complain);
  if (!found) return;
  const { context } = found;
  const at = Array.from({ length: CALIBRATION_CLICKS }, (_, index) => context.currentTime + 0.4 + index * 0.5);
  for (const time of at) clickAt(0, true).play(context, time, context.destination);
  await new Promise((resolve) => setTimeout(resolve, 1000 * (0.4 + 0.5 * CALIBRATION_CLICKS + 0.4)));
  const samples = joined(found.parts, found.startFrame ?? 0);
  for (const track of found.stream.getTracks()) track.stop();
  const rate = context.sampleRate;
  const delays = at.map((time) => {
    const from = Math.round(time * rate) - found.startFrame;
    const piece = samples.subarray(from, from + Math.round(0.45 * rate));
    let peak = 0;
    for (const sample of piece) peak = Math.max(peak, Math.abs(sample));
    return peak < 0.01 ? null : piece.findIndex((sample) => Math.abs(sample) > peak / 3) / rate;
  }).filter((each) => each !== null).sort((a, b) => a - b);
  await context.close();
  if (delays.length < 3 || delays[delays.length - 1] - delays[0] > 0.03) { $("latency").textContent = WORDS.latency_failed; return; }
  measured = delays[Math.floor(delays.length / 2)];
  $("latency").textContent = WORDS.latency_ms(1000 * measured);
}

// 16 bit would do for the ear; 24 leave room for a quiet singer.
export function wav(samples, rate) {
  const bytes = new DataView(new ArrayBuffer(44 + 3 * samples.length));
  const text = (place, word) => [...word].forEach((letter, index) => bytes.setUint8(place + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  bytes.setUint32(4, 36 + 3 * samples.length, true);
  text(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true);
  bytes.setUint16(20, 1, true);
  bytes.setUint16(22, 1, true);
  bytes.setUint32(24, rate, true);
  bytes.setUint32(28, 3 * rate, true);
  bytes.setUint16(32, 3, true);
  bytes.setUint16(34, 24, true);
  text(36, "data");
  bytes.setUint32(40, 3 * samples.length, true);
  samples.forEach((sample, index) => {
    const value = Math.max(-8388608, Math.min(8388607, Math.round(sample * 8388607)));
    bytes.setUint8(44 + 3 * index, value & 255);
    bytes.setUint8(45 + 3 * index, (value >> 8) & 255);
    bytes.setUint8(46 + 3 * index, (value >> 16) & 255);
  });
  return new Blob([bytes.buffer], { type: "audio/wav" });
}

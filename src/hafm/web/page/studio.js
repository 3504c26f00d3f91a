// The page: songs, one song, its chart, its takes. It keeps nothing that the service does not keep.

import { chordAt, clickAt } from "./synth.js";
import { openRecorder } from "./recorder.js";
import { Player } from "./player.js";
import { service } from "./service.js";
import { tapper } from "./tap.js";
import { TimelineView } from "./timeline.js";
import { WORDS, fill } from "./words.js";

const $ = (id) => document.getElementById(id);
const KEYS = ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"];

const player = new Player();
const view = new TimelineView(player);
const state = { about: null, project: null, sheet: null, undo: [], redo: [], job: null, take: null };

// ---- saying things

function say(text) { $("status").textContent = text; }

function complain(error) {
  const text = typeof error === "string" ? error : error?.cancelled ? "" : error?.message ?? WORDS.failed;
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

// Runs what a person asked for, and says what goes wrong.
function guarded(action) {
  return async (...values) => {
    complain("");
    try { await action(...values); } catch (error) { complain(error); if (error?.cancelled) say(WORDS.steps.cancelled); }
  };
}

const on = (id, event, action) => $(id).addEventListener(event, guarded(action));

function clock(seconds) {
  const tenths = Math.floor(seconds * 10 + 1e-6);
  return `${Math.floor(tenths / 600)}:${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
}

// ---- which screen

function show(screen) {
  for (const id of ["start", "recorder", "song"]) $(id).hidden = id !== screen;
  $("back").hidden = screen === "start";
}

async function goHome() {
  player.clear();
  view.close();
  state.project = null;
  if (location.hash) history.pushState(null, "", location.pathname);
  show("start");
  await listProjects();
}

async function listProjects() {
  const projects = await service.projects();
  const now = Date.now() / 1000;
  $("projects").replaceChildren(...projects.map((project) => {
    const item = document.createElement("li");
    const open = document.createElement("button");
    open.type = "button";
    open.textContent = project.name;
    open.onclick = guarded(() => openProject(project.id));
    const about = document.createElement("span");
    about.className = "muted";
    const life = project.is_kept ? WORDS.kept : WORDS.expires((project.expires - now) / 86400);
    about.textContent = [project.vocal ? clock(project.vocal.seconds) : "", life].filter(Boolean).join(" · ");
    item.append(open, about);
    return item;
  }));
  if (!projects.length) {
    const item = document.createElement("li");
    item.className = "muted";
    item.textContent = WORDS.no_projects;
    $("projects").append(item);
  }
}

// ---- a recording comes in

async function takeFile(blob, name) {
  const most = state.about.limits.upload_bytes;
  if (blob.size > most) { complain(WORDS.too_large(Math.floor(most / 1e6))); return; }
  const project = await service.upload(blob, name, { onShare: (share) => say(WORDS.uploading(Math.round(100 * share))) });
  say("");
  await openProject(project.id, project);
}

on("file", "change", async (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  if (file) await takeFile(file, file.name);
});
on("example", "click", async () => {
  const project = await service.example();
  await openProject(project.id, project);
});
for (const name of ["dragover", "dragenter"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
}
document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  const [file] = event.dataTransfer.files;
  if (file) guarded(takeFile)(file, file.name);
});
on("open-record", "click", () => {
  show("recorder");
  openRecorder(guarded(async (recording) => {
    const project = await service.upload(recording.blob, recording.name, { wait: true, onShare: (share) => say(WORDS.uploading(Math.round(100 * share))) });
    say("");
    const job = await service.analyse(project.id, recording.given ? { given: recording.given } : {});
    await openProject(project.id, { ...project, jobs: [job] });
  }), complain);
});
on("record-close", "click", goHome);
on("back", "click", goHome);

// ---- a song

async function openProject(id, known) {
  player.clear();
  view.close();
  show("song");
  $("desk").hidden = true;
  state.project = known ?? (await service.project(id));
  state.undo = [];
  state.redo = [];
  state.take = null;
  if (location.hash !== `#${id}`) history.pushState(null, "", `#${id}`);
  $("name").value = state.project.name;
  $("keep").checked = state.project.is_kept;
  $("warnings").replaceChildren();
  const listening = state.project.jobs.find((job) => job.kind === "listen");
  const playing = state.project.jobs.find((job) => job.kind === "play");
  if (listening) await work(listening);
  else if (!state.project.vocal) await work(await service.analyse(id, {}));
  await loadSong();
  if (playing) guarded(async () => { await work(playing); await refreshTakes(playing); })();
}

async function loadSong() {
  const id = state.project.id;
  state.project = await service.project(id);
  const [hearing, sheet] = await Promise.all([service.hearing(id), service.sheet(id)]);
  showWarnings();
  player.add("vocal", `/v1/projects/${id}/vocal`);
  $("desk").hidden = false;
  view.open(state.project.vocal.seconds, hearing);
  showSheet(sheet);
  showTakes();
  await hear(state.project.takes.length ? "mix" : "vocal");
}

function showWarnings() {
  $("warnings").replaceChildren(...state.project.warnings.map(({ code, message }) => {
    const item = document.createElement("li");
    const [what, remedy] = WORDS.warnings[code] ?? [message, WORDS.remedy_none];
    item.textContent = `${what} ${remedy}`.trim();
    return item;
  }));
}

on("name", "change", async () => {
  if ($("name").value.trim()) state.project = await service.change(state.project.id, { name: $("name").value });
  $("name").value = state.project.name;
});
on("keep", "change", async () => { await service.change(state.project.id, { is_kept: $("keep").checked }); say(WORDS.saved); });
on("delete", "click", async () => {
  if (!confirm(WORDS.sure_delete)) return;
  await service.remove(state.project.id);
  await goHome();
});

// ---- jobs

async function work(job) {
  state.job = job.id;
  $("work").hidden = false;
  for (const id of ["get-band", "sketch", "again"]) $(id).disabled = true;
  const onNews = (news) => {
    $("work-step").textContent = WORDS.steps[news.step] ?? WORDS.working;
    if (news.state === "waiting") $("work-share").removeAttribute("value");
    else $("work-share").value = news.share;
    const left = news.state === "waiting" ? news.seconds_before : news.seconds_left;
    const place = news.position > 0 ? `${WORDS.before(news.position)}, ` : "";
    $("work-left").textContent = left === null || left <= 0 ? place.replace(", ", "") : place + WORDS.left(left);
  };
  onNews(job);
  try {
    return await service.follow(job.id, onNews);
  } finally {
    state.job = null;
    $("work").hidden = true;
    for (const id of ["get-band", "sketch", "again"]) $(id).disabled = false;
  }
}
on("cancel", "click", async () => { if (state.job) await service.cancel(state.job); });

// ---- the lead sheet

function showSheet(sheet) {
  state.sheet = sheet;
  view.draw(sheet);
  $("tempo").value = sheet.tempo_bpm === null ? "" : Math.round(sheet.tempo_bpm * 100) / 100;
  choose($("meter"), sheet.meter);
  choose($("key"), sheet.key);
  $("style").value = sheet.style ?? "";
  $("chart").value = sheet.chart ?? "";
  const unsure = sheet.unsure.map((part) => WORDS.parts[part]).filter(Boolean);
  $("unsure").hidden = sheet.bars.length > 0 && !unsure.length;
  $("unsure").textContent = sheet.bars.length ? WORDS.unsure(unsure.join(", ")) : WORDS.no_beat;
  $("undo").disabled = !state.undo.length;
  $("redo").disabled = !state.redo.length;
  for (const id of ["half", "twice", "first-beat", "chart-set"]) $(id).disabled = !sheet.bars.length;
  setStrokes();
}

function choose(select, value) {
  if (value && ![...select.options].some((option) => option.value === value)) {
    select.add(new Option(value.replace(":maj", "").replace(":min", "m"), value));
  }
  select.value = value ?? "";
}

// One change of the sheet after the other: each is made of what the one before gave.
let lastChange = Promise.resolve();
function inTurn(change) {
  lastChange = lastChange.catch(() => {}).then(change);
  return lastChange;
}

const edit = (values) => inTurn(async () => {
  const before = state.sheet.sheet;
  try {
    const sheet = await service.edit(state.project.id, values);
    state.undo.push(before);
    state.redo = [];
    showSheet(sheet);
    const moves = ["tempo", "double_time", "half_time", "first_beat", "meter"].includes(values.edit);
    if (moves && sheet.sheet.origins?.chords?.source === "estimated") await guessAgain(sheet.sheet);
  } catch (error) {
    showSheet(state.sheet); // what was dragged goes back
    throw error;
  }
});

// Chords that were guessed are guessed again in bars that moved; what the singer gave is kept.
async function guessAgain(sheet, tempo_bpm = null) {
  const given = { ...sheet };
  const guessed = (part) => sheet.origins?.[part]?.source === "estimated";
  if (guessed("chords")) delete given.chords;
  if (guessed("key")) delete given.keys;
  given.origins = Object.fromEntries(Object.entries(sheet.origins ?? {}).filter(([part]) => !guessed(part)));
  await work(await service.analyse(state.project.id, { given, tempo_bpm }));
  showSheet(await service.sheet(state.project.id));
}

view.addEventListener("edit", (event) => guarded(edit)(event.detail));

const restore = (from, to) => inTurn(async () => {
  if (!from.length) return;
  const sheet = await service.putSheet(state.project.id, from[from.length - 1]);
  from.pop();
  to.push(state.sheet.sheet);
  showSheet(sheet);
});
on("undo", "click", () => restore(state.undo, state.redo));
on("redo", "click", () => restore(state.redo, state.undo));

on("tempo-set", "click", () => edit({ edit: "tempo", bpm: Number($("tempo").value) }));
on("tempo", "keydown", (event) => event.key === "Enter" && edit({ edit: "tempo", bpm: Number($("tempo").value) }));
on("half", "click", () => edit({ edit: "half_time" }));
on("twice", "click", () => edit({ edit: "double_time" }));
on("meter", "change", () => edit({ edit: "meter", meter: $("meter").value }));
on("first-beat", "click", () => edit({ edit: "first_beat", seconds: player.currentTime }));
on("key", "change", () => edit({ edit: "key", key: $("key").value, moves_chords: $("key-moves").checked }));
on("style", "change", () => edit({ edit: "style", style: $("style").value || null }));
on("chart-set", "click", () => edit({ edit: "chart", chords: $("chart").value }));
on("listen-again", "click", () => inTurn(async () => {
  const before = state.sheet.sheet;
  const { beats, meters, arrangement, ...kept } = before;
  const origins = { ...kept.origins };
  delete origins.beats;
  delete origins.arrangement;
  const bpm = Number($("tempo").value);
  await guessAgain({ ...kept, origins }, bpm >= 20 && bpm <= 400 ? bpm : null);
  state.undo.push(before);
  state.redo = [];
  showSheet(state.sheet);
}));

const tap = tapper(guarded(async (bpm, firstSeconds) => {
  $("tempo").value = bpm;
  say(WORDS.tapped(bpm));
  await edit({ edit: "tempo", bpm, ...(firstSeconds === null ? {} : { first_beat: firstSeconds }) });
}), () => (player.paused ? null : player.currentTime));
$("tap").addEventListener("pointerdown", () => tap());
$("tap").addEventListener("keydown", (event) => { if ([" ", "Enter"].includes(event.key) && !event.repeat) { event.preventDefault(); tap(); } });

// ---- marked bars

view.addEventListener("marked", ({ detail }) => {
  $("marked").hidden = !detail;
  if (detail) $("marked-what").textContent = WORDS.marked(...detail);
  player.loop = detail && $("loop").checked ? view.markedSeconds : null;
});
for (const button of document.querySelectorAll("[data-without]")) {
  button.onclick = guarded(() => {
    const [first_bar, last_bar] = view.marked;
    const already = state.sheet.bars.slice(first_bar - 1, last_bar).flatMap((bar) => bar.without);
    const without = button.dataset.without ? [...new Set([...already, button.dataset.without])] : [];
    return edit({ edit: "players", first_bar, last_bar, without });
  });
}
on("loop", "change", () => { player.loop = $("loop").checked ? view.markedSeconds : null; });
on("unmark", "click", () => view.mark(null));

// ---- hearing

function chosenTake() { return state.project?.takes.find((take) => take.number === state.take) ?? null; }

async function hear(what) {
  const take = chosenTake() ?? null;
  if (!take && what !== "vocal") {
    if (state.project.takes.length) { await hearTake(state.project.best_take ?? bestTake(), what); return; }
    what = "vocal";
  }
  for (const radio of document.querySelectorAll("[name=hear]")) {
    radio.checked = radio.value === what;
    radio.disabled = radio.value !== "vocal" && !state.project.takes.length;
  }
  const gain = (db) => 10 ** (db / 20);
  const levels = {};
  const vocalDb = take ? take.levels.vocal_gain_db : 0;
  if (what !== "band") levels.vocal = gain(vocalDb);
  if (take && what !== "vocal") {
    levels[`take-${take.number}`] = gain(take.levels.accompaniment_gain_db + Number($("balance").value) - take.balance_db);
  }
  await player.hear(levels);
}

function heardNow() { return document.querySelector("[name=hear]:checked").value; }

async function hearTake(number, what = heardNow()) {
  state.take = number;
  player.add(`take-${number}`, `/v1/projects/${state.project.id}/takes/${number}/accompaniment`);
  for (const item of $("takes").children) {
    const isHeard = Number(item.dataset.number) === number;
    item.classList.toggle("heard", isHeard);
    const button = item.querySelector(".listen");
    if (!button) continue;
    button.textContent = isHeard ? WORDS.listening : WORDS.listen;
    button.setAttribute("aria-label", `${button.textContent}: ${WORDS.take(item.dataset.number)}`);
    button.setAttribute("aria-pressed", String(isHeard));
  }
  if (chosenTake()?.players === "model") $("again-of").value = number;
  await hear(what === "vocal" ? "mix" : what);
}

for (const radio of document.querySelectorAll("[name=hear]")) radio.onchange = guarded(() => hear(radio.value));
on("balance", "input", () => hear(heardNow()));
on("zoom", "input", () => view.setZoom(Number($("zoom").value)));
on("play", "click", () => player.toggle());
on("to-start", "click", () => { player.currentTime = 0; });
for (const id of ["click", "plain"]) $(id).onchange = setStrokes;

function setStrokes() {
  const sheet = state.sheet;
  if (!sheet) return;
  const strokes = [];
  if ($("click").checked) for (const bar of sheet.bars) bar.beats.forEach((time, index) => strokes.push(clickAt(time, index === 0)));
  if ($("plain").checked) for (const chord of sheet.chords) if (chord.notes.length) strokes.push(chordAt(chord.start, chord.end - chord.start, chord.notes));
  player.setStrokes(strokes);
}

function showPlaying() {
  $("play").classList.toggle("playing", !player.paused);
  $("play").setAttribute("aria-label", player.paused ? WORDS.play : WORDS.pause);
  $("position").textContent = clock(player.currentTime);
}
for (const name of ["play", "pause", "timeupdate", "ended"]) player.addEventListener(name, showPlaying);

// ---- takes

on("get-band", "click", () => {
  if (!state.project.takes.length) sketchMeanwhile();
  return make({ takes: Number($("number").value), seed: nextSeed() });
});
on("sketch", "click", async () => {
  const job = await service.makeTakes(state.project.id, sketchOf());
  await refreshTakes(await work(job));
});
on("again", "click", () => {
  const [first, last] = view.marked;
  return make({ takes: 1, seed: nextSeed(), again: { take: Number($("again-of").value), first_bar: first, last_bar: last } });
});

function sketchOf() { return { samples: true, seed: state.project.takes.length, balance_db: Number($("balance").value) }; }

// The first sound, while the model works: samples play the chart. Without a chart they have nothing to play.
async function sketchMeanwhile() {
  if (!state.sheet.bars.length) return;
  const { id } = state.project;
  try {
    const done = await service.follow((await service.makeTakes(id, sketchOf())).id);
    if (state.project?.id !== id) return;
    if (state.take === null) { await refreshTakes(done); say(WORDS.sketch_is_there); return; }
    state.project = await service.project(id);
    showTakes();
    await hearTake(state.take);
  } catch { /* the takes are what was asked for */ }
}

function nextSeed() {
  const used = state.project.takes.filter((take) => take.players !== "samples").map((take) => take.seed);
  let seed = Number($("seed").value);
  while (used.includes(seed)) seed += 1;
  $("seed").value = seed;
  return seed;
}

async function make(values) {
  const job = await service.makeTakes(state.project.id, {
    temperature: Number($("daring").value),
    guide_guidance: Number($("follow").value) === 3 ? null : Number($("follow").value),
    skip_fine: $("quick").checked,
    balance_db: Number($("balance").value),
    watched: !$("stay").checked,
    ...values,
  });
  await refreshTakes(await work(job));
  say("");
}

async function refreshTakes(job) {
  state.project = await service.project(state.project.id);
  showTakes();
  const made = state.project.takes.filter((take) => job.result.takes?.includes(take.number));
  const first = made.find((take) => take.place === 1) ?? made[0];
  if (first) await hearTake(first.number, "mix");
}

function bestTake() {
  const takes = state.project.takes;
  return (takes.find((take) => take.place === 1) ?? takes.find((take) => take.players !== "samples") ?? takes[0]).number;
}

function showTakes() {
  const { takes, best_take: kept } = state.project;
  $("takes").replaceChildren(...takes.map((take) => takeItem(take, kept)));
  if (!takes.length) {
    const item = document.createElement("li");
    item.className = "muted";
    item.textContent = WORDS.no_takes;
    $("takes").append(item);
  }
  const played = takes.filter((take) => take.players !== "samples");
  $("get-band").textContent = played.length ? WORDS.more_takes : WORDS.get_band;
  $("again-box").hidden = !played.length;
  $("again-of").replaceChildren(...played.map((take) => new Option(WORDS.take(take.number), take.number)));
}

function takeItem(take, kept) {
  const item = document.createElement("li");
  item.dataset.number = take.number;
  const title = document.createElement("strong");
  title.textContent = take.players === "samples" ? WORDS.take_samples(take.number)
    : take.of_take ? WORDS.take_again(take.number, take.of_take, ...take.bars) : WORDS.take(take.number);
  const button = (text, action, className = "quiet") => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = className;
    made.textContent = text;
    made.setAttribute("aria-label", `${text}: ${WORDS.take(take.number)}`);
    made.onclick = guarded(action);
    return made;
  };
  const listen = button(WORDS.listen, async () => { await hearTake(take.number); if (player.paused) await player.play(); }, "listen");
  const keep = button(kept === take.number ? WORDS.kept_take : WORDS.keep_take, async () => {
    state.project = await service.change(state.project.id, { best_take: take.number, is_kept: true });
    $("keep").checked = true;
    showTakes();
    await hearTake(state.take ?? take.number);
  });
  keep.setAttribute("aria-pressed", String(kept === take.number));
  const home = button(WORDS.download, () => download(take.number));
  const remove = button(WORDS.delete, async () => {
    await service.removeTake(state.project.id, take.number);
    player.remove(`take-${take.number}`);
    state.project = await service.project(state.project.id);
    if (state.take === take.number) state.take = null;
    showTakes();
    await hear(state.project.takes.length ? heardNow() : "vocal");
  }, "quiet danger");
  const why = document.createElement("span");
  why.className = "why muted small";
  const best = take.terms && Object.entries(take.terms).sort((a, b) => b[1] - a[1])[0];
  why.textContent = [
    take.of > 1 ? WORDS.best_of(take.place, take.of) : "",
    take.of > 1 && best ? WORDS.because(WORDS.reasons[best[0]] ?? best[0]) : "",
    take.skip_fine ? WORDS.rough : "",
    take.style ? WORDS.styles[take.style] ?? take.style : "",
  ].filter(Boolean).join(", ");
  item.append(title, listen, keep, home, remove, why);
  return item;
}

async function download(take) {
  await work(await service.pack(state.project.id, { take, format: $("format").value }));
  const link = document.createElement("a");
  link.href = `/v1/projects/${state.project.id}/export.zip`;
  link.download = "";
  link.click();
}
on("download-chart", "click", () => download(null));

// ---- keys

document.addEventListener("keydown", (event) => {
  const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) && event.target.type !== "checkbox" && event.target.type !== "range";
  if ($("song").hidden || $("desk").hidden || isTyping) return;
  const isControl = event.ctrlKey || event.metaKey;
  if (isControl && event.key.toLowerCase() === "z") {
    event.preventDefault();
    $(event.shiftKey ? "redo" : "undo").click();
  } else if (event.key === " " && !/^(BUTTON|SUMMARY|INPUT|A)$/.test(event.target.tagName)) {
    event.preventDefault();
    $("play").click();
  } else if (event.target === document.body && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
    player.currentTime += event.key === "ArrowLeft" ? -2 : 2;
  }
});
window.addEventListener("popstate", guarded(start));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  view.wave?.setOptions({ waveColor: colour("--wave"), progressColor: colour("--played") });
});

async function start() {
  const id = location.hash.slice(1);
  if (/^[0-9a-f]{16}$/.test(id)) {
    try { await openProject(id); return; } catch (error) { if (error.status !== 404) throw error; complain(error); }
  }
  await goHome();
}

fill();
$("style").replaceChildren(new Option(WORDS.style_free, ""), ...Object.entries(WORDS.styles).map(([value, text]) => new Option(text, value)));
$("key").replaceChildren(new Option("–", ""), ...["maj", "min"].flatMap((mode) => KEYS.map((note) => new Option(mode === "maj" ? note : `${note}m`, `${note}:${mode}`))));
guarded(async () => { state.about = await service.about(); await start(); document.body.dataset.ready = "yes"; })();

"use strict";
// One page, three sections: intro, trial, end. Whatever the rater does is in `state`, which localStorage keeps.
//
//   state = {session, rater, started, finished, answers: [answer], open: {heard, plays, ended, seconds, choice, comment}}
//   `open` is the trial that has no answer yet: the one after the last of `answers`.

const data = JSON.parse(document.getElementById("data").textContent);
const KEEP = "hafm-listen-" + data.kit;
const SIDES = ["a", "b"];
const $ = (id) => document.getElementById(id);

// ---- state

let state = kept() || fresh();
let shownAt = 0; // when the open trial came into sight

function fresh() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  const session = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return {session, rater: "", started: null, finished: null, answers: [], open: blank()};
}

function blank() {
  return {heard: {a: 0, b: 0}, plays: {a: 0, b: 0}, ended: {a: false, b: false}, seconds: 0, choice: null, comment: ""};
}

function kept() {
  try {
    const found = JSON.parse(localStorage.getItem(KEEP));
    return found && Array.isArray(found.answers) && found.open ? found : null;
  } catch (error) {
    return null;
  }
}

function keep() {
  try {
    localStorage.setItem(KEEP, JSON.stringify(state));
  } catch (error) {
    warn("This browser keeps nothing: please finish in one go, and save before you close this page.");
  }
}

function warn(text) {
  $("warning").textContent = text;
  $("warning").hidden = false;
}

// ---- sound

class Player {
  // One sound; `onChange` is called when anything about it may have changed.
  constructor(onChange) {
    this.audio = new Audio();
    this.onChange = onChange;
    this.last = 0;
    this.url = null;
    this.audio.addEventListener("timeupdate", () => this.count());
    this.audio.addEventListener("ended", () => { this.count(); this.onEnded(); this.onChange(); });
    for (const name of ["play", "pause", "loadedmetadata"]) this.audio.addEventListener(name, () => this.onChange());
    this.audio.addEventListener("error", () => {
      if (this.url) warn("A sound cannot be played. Please try another browser, such as a new Firefox or Chrome.");
    });
    this.onHeard = () => {};
    this.onEnded = () => {};
    this.onPlay = () => {};
  }

  load(base64) {
    this.audio.pause();
    if (this.url) URL.revokeObjectURL(this.url);
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    this.url = URL.createObjectURL(new Blob([bytes], {type: "audio/mpeg"}));
    this.last = 0;
    this.audio.src = this.url;
  }

  // What was heard is counted by the sound's own clock: it stops while the sound does.
  count() {
    const now = this.audio.currentTime;
    const step = now - this.last;
    this.last = now;
    if (step > 0 && step < 2) {
      this.onHeard(step);
      this.onChange();
    }
  }

  get playing() { return !this.audio.paused && !this.audio.ended; }
  get share() { return this.audio.duration ? this.audio.currentTime / this.audio.duration : 0; }

  toggle() {
    if (this.playing) {
      this.audio.pause();
      return;
    }
    if (this.audio.ended || this.audio.currentTime === 0) {
      this.audio.currentTime = 0;
      this.last = 0;
      this.onPlay();
    }
    this.audio.play().catch(() => warn("The sound did not start: press play again."));
  }
}

// ---- intro

let checked = false;
const check = new Player(() => {
  $("check").classList.toggle("playing", check.playing);
  $("check").querySelector(".label").textContent = check.playing ? "Pause" : "Play a singer alone";
});
check.onHeard = () => {
  checked = true;
  $("check-state").textContent = "You should hear a voice.";
  showStart();
};

function showStart() {
  $("start").disabled = !checked;
  $("start").textContent = state.started ? "Go on" : "Start";
}

function intro() {
  show("intro");
  $("rater").value = state.rater;
  showStart();
}

$("check").addEventListener("click", () => check.toggle());
$("rater").addEventListener("input", () => { state.rater = $("rater").value.trim(); keep(); });
$("start").addEventListener("click", () => {
  check.audio.pause();
  state.started = state.started || new Date().toISOString();
  keep();
  proceed();
});

// ---- trial

const players = {a: new Player(() => showTrial()), b: new Player(() => showTrial())};
let lastSide = "a";

for (const side of SIDES) {
  const player = players[side];
  player.onHeard = (seconds) => { state.open.heard[side] += seconds; };
  player.onEnded = () => { state.open.ended[side] = true; keep(); };
  player.onPlay = () => { state.open.plays[side] += 1; };
  $("player-" + side).querySelector("button").addEventListener("click", () => play(side));
}

function play(side) {
  players[side === "a" ? "b" : "a"].audio.pause();
  lastSide = side;
  players[side].toggle();
  keep();
}

function enough(side) {
  return state.open.ended[side] || state.open.heard[side] >= data.listen_seconds;
}

function openTrial() {
  const trial = data.trials[state.answers.length];
  for (const side of SIDES) players[side].load(trial[side]);
  lastSide = "a";
  shownAt = Date.now();
  $("comment").value = state.open.comment;
  show("trial");
  showTrial();
  window.scrollTo(0, 0);
}

function showTrial() {
  if ($("trial").hidden) return;
  const number = state.answers.length;
  $("bar").firstElementChild.style.width = (100 * number) / data.trials.length + "%";
  $("bar").setAttribute("aria-valuemax", data.trials.length);
  $("bar").setAttribute("aria-valuenow", number);
  $("count").textContent = "Pair " + (number + 1) + " of " + data.trials.length;
  for (const side of SIDES) {
    const box = $("player-" + side);
    box.classList.toggle("playing", players[side].playing);
    box.classList.toggle("heard", enough(side));
    box.querySelector(".track div").style.width = 100 * players[side].share + "%";
    setText(box.querySelector("p"), enough(side) ? "heard" : state.open.plays[side] ? "listen on" : "not heard yet");
  }
  const ready = SIDES.every(enough);
  for (const button of document.querySelectorAll("[data-choice]")) {
    button.disabled = !ready;
    button.setAttribute("aria-pressed", button.dataset.choice === state.open.choice);
  }
  setText($("gate"), ready ? "" : "Listen to both, then choose.");
  $("next").disabled = !(ready && state.open.choice);
  $("next").textContent = number + 1 === data.trials.length ? "Finish" : "Next";
}

function setText(element, text) { // untouched where nothing changes: screen readers speak of every change
  if (element.textContent !== text) element.textContent = text;
}

function choose(choice) {
  if (!SIDES.every(enough)) return;
  state.open.choice = choice;
  keep();
  showTrial();
}

function pauseAll() {
  for (const side of SIDES) players[side].audio.pause();
  if (!$("trial").hidden) {
    state.open.seconds += (Date.now() - shownAt) / 1000;
    shownAt = Date.now();
    keep();
  }
}

function next() {
  if ($("next").disabled) return;
  pauseAll();
  const {heard, plays, seconds, choice, comment} = state.open;
  state.answers.push({
    trial: data.trials[state.answers.length].id,
    choice,
    comment: comment.trim(),
    seconds: rounded(seconds),
    plays,
    heard_seconds: {a: rounded(heard.a), b: rounded(heard.b)},
    at: new Date().toISOString(),
  });
  state.open = blank();
  if (state.answers.length === data.trials.length) state.finished = new Date().toISOString();
  keep();
  proceed();
}

function rounded(seconds) { return Math.round(seconds * 10) / 10; }

for (const button of document.querySelectorAll("[data-choice]")) {
  button.addEventListener("click", () => choose(button.dataset.choice));
}
$("comment").addEventListener("input", () => { state.open.comment = $("comment").value; keep(); });
$("next").addEventListener("click", next);
$("stop").addEventListener("click", () => { pauseAll(); end(); });
window.addEventListener("pagehide", pauseAll);

// ---- end

function end() {
  const done = state.answers.length;
  const all = done === data.trials.length;
  $("end-title").textContent = all ? "Thank you" : "Stopped for now";
  $("end-text").textContent = all
    ? "That was all: you answered " + done + " pairs."
    : "You answered " + done + " of " + data.trials.length + " pairs. You can go on now, or come back to this page later.";
  $("back").hidden = all;
  $("save").disabled = done === 0;
  $("save-state").textContent = "";
  show("end");
}

$("save").addEventListener("click", () => {
  const file = {
    format: 1,
    kind: "hafm listening answers",
    kit: data.kit,
    session: state.session,
    rater: state.rater,
    started: state.started,
    finished: state.finished,
    answers: state.answers,
  };
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], {type: "application/json"}));
  const who = state.rater.replace(/[^A-Za-z0-9]+/g, "-").replace(/^-|-$/g, "") || state.session;
  link.download = "answers-" + data.kit.slice(0, 6) + "-" + who + ".json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  $("save-state").textContent = "Saved as " + link.download;
});
$("back").addEventListener("click", openTrial);
$("again").addEventListener("click", () => {
  if (!window.confirm("This removes the answers that this browser keeps. Have they been saved?")) return;
  state = fresh();
  keep();
  intro();
});

// ---- the page

function show(name) {
  for (const section of ["intro", "trial", "end"]) $(section).hidden = section !== name;
}

function proceed() {
  if (state.answers.length >= data.trials.length) end();
  else openTrial();
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, textarea");
  if ($("trial").hidden || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const onButton = event.target.matches("button");
  const act = {
    a: () => play("a"),
    b: () => play("b"),
    1: () => choose("a"),
    2: () => choose("same"),
    3: () => choose("b"),
    " ": onButton ? null : () => play(SIDES.find((side) => players[side].playing) || lastSide),
    enter: onButton ? null : next,
  }[event.key.toLowerCase()];
  if (!act || event.repeat) return;
  event.preventDefault();
  act();
});
document.addEventListener("click", (event) => { // after a mouse, keys are for the page and not for the button
  const button = event.target.closest("button");
  if (button && event.detail > 0) button.blur();
});

function tick() { // a bar that moves smoothly, and only while there is sound
  if (SIDES.some((side) => players[side].playing)) showTrial();
  requestAnimationFrame(tick);
}

$("kit").textContent = data.kit;
for (const element of document.querySelectorAll("[data-count]")) element.textContent = data.trials.length;
for (const element of document.querySelectorAll("[data-minutes]")) {
  const minutes = Math.round((data.trials.length * 35) / 60);
  element.textContent = minutes > 1 ? minutes + " minutes" : "a minute";
}
check.load(data.sound_check);
if (state.finished) end();
else intro();
requestAnimationFrame(tick);

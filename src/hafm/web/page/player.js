// Players in step: every track starts at the same sample, and switching is a change of gains.
//
// To wavesurfer it is a media element: it has play, pause, currentTime, duration and their events.

const FADE_SECONDS = 0.015;
const AHEAD_SECONDS = 0.25;
const LOOK_MILLISECONDS = 80;

export class Player extends EventTarget {
  constructor() {
    super();
    this.context = null;
    this.tracks = new Map(); // name -> { url, buffer, gain, node, level }
    this.paused = true;
    this.seeking = this.ended = this.muted = this.autoplay = false;
    this.volume = this.playbackRate = 1;
    this.preservesPitch = true;
    this.readyState = 4;
    this.currentSrc = this.src = "";
    this.loop = null; // [start, end]
    this.strokes = []; // { time, play(context, at, out) }, sorted
    this._duration = 0;
    this._position = 0;
    this._startedAt = 0;
  }

  get duration() { return this._duration; }
  set duration(value) {
    this._duration = value;
    for (const name of ["durationchange", "loadedmetadata", "canplay"]) this.dispatchEvent(new Event(name));
  }

  get currentTime() {
    if (this.paused) return this._position;
    const passed = this._position + this.context.currentTime - this._startedAt;
    return Math.max(this._position, Math.min(passed, this._duration));
  }
  set currentTime(value) {
    const place = Math.max(0, Math.min(value, this._duration));
    if (this.paused) this._position = place;
    else { this._stop(); this._start(place); }
    for (const name of ["seeking", "seeked", "timeupdate"]) this.dispatchEvent(new Event(name));
  }

  _ready() {
    if (this.context) return;
    this.context = new AudioContext();
    this.master = this.context.createDynamicsCompressor(); // a safety net: balance may be turned far up
    this.master.threshold.value = -1;
    this.master.ratio.value = 20;
    this.master.attack.value = 0.001;
    this.master.connect(this.context.destination);
    this.extras = this.context.createGain();
    this.extras.connect(this.master);
    for (const track of this.tracks.values()) this._wire(track);
  }

  _wire(track) {
    track.gain = this.context.createGain();
    track.gain.gain.value = track.level;
    track.gain.connect(this.master);
  }

  add(name, url) {
    if (this.tracks.has(name)) return;
    const track = { url, buffer: null, gain: null, node: null, level: 0 };
    this.tracks.set(name, track);
    if (this.context) this._wire(track);
  }

  clear() {
    this.pause();
    this.tracks.clear();
    this.strokes = [];
    this.loop = null;
    this._position = 0;
  }

  remove(name) {
    if (typeof name !== "string") return; // as of an element
    const track = this.tracks.get(name);
    if (track?.node) track.node.stop();
    this.tracks.delete(name);
  }

  async loadTrack(name) {
    const track = this.tracks.get(name);
    if (!track || track.buffer) return;
    this._ready();
    track.loading ??= (async () => {
      const answer = await fetch(track.url);
      if (!answer.ok) throw new Error(`${track.url}: ${answer.status}`);
      track.buffer = await this.context.decodeAudioData(await answer.arrayBuffer());
      if (!this.paused) this._startTrack(track, this.context.currentTime + 0.02);
    })();
    try { await track.loading; } finally { track.loading = null; }
  }

  // Levels by name; a track that is not named is silent. What is audible and not there yet is fetched.
  async hear(levels) {
    const wanted = [];
    for (const [name, track] of this.tracks) {
      track.level = levels[name] ?? 0;
      if (track.gain) track.gain.gain.setTargetAtTime(track.level, this.context.currentTime, FADE_SECONDS / 3);
      if (track.level > 0 && !track.buffer) wanted.push(name);
    }
    if (wanted.length && this.context) await Promise.all(wanted.map((name) => this.loadTrack(name)));
  }

  async play() {
    if (!this.paused) return;
    this._ready();
    await this.context.resume();
    const wanted = [...this.tracks].filter(([, track]) => track.level > 0 && !track.buffer);
    await Promise.all(wanted.map(([name]) => this.loadTrack(name)));
    if (!this.paused) return;
    const place = this._position >= this._duration - 0.01 ? 0 : this._position;
    this._start(this.loop && (place < this.loop[0] || place >= this.loop[1]) ? this.loop[0] : place);
    this.ended = false;
    for (const name of ["play", "playing"]) this.dispatchEvent(new Event(name));
  }

  pause() {
    if (this.paused) return;
    this._position = this.currentTime;
    this._stop();
    this.paused = true;
    for (const name of ["pause", "timeupdate"]) this.dispatchEvent(new Event(name));
  }

  toggle() { return this.paused ? this.play() : this.pause(); }

  _start(place) {
    this._position = place;
    this._startedAt = this.context.currentTime + 0.03;
    this.paused = false;
    for (const track of this.tracks.values()) if (track.buffer) this._startTrack(track, this._startedAt);
    this._nextStroke = this.strokes.findIndex((stroke) => stroke.time >= place - 0.001);
    if (this._nextStroke < 0) this._nextStroke = this.strokes.length;
    this._timer = setInterval(() => this._look(), LOOK_MILLISECONDS);
    this._look();
  }

  _startTrack(track, when) {
    const offset = Math.max(0, this._position + when - this._startedAt);
    if (offset >= track.buffer.duration) return;
    track.node = this.context.createBufferSource();
    track.node.buffer = track.buffer;
    track.node.connect(track.gain);
    track.node.start(when, offset);
  }

  _stop() {
    clearInterval(this._timer);
    for (const track of this.tracks.values()) {
      if (track.node) { try { track.node.stop(); } catch { /* it has ended */ } track.node.disconnect(); }
      track.node = null;
    }
    this.extras.gain.cancelScheduledValues(0);
    const old = this.extras; // what is scheduled in it falls silent with it
    old.disconnect();
    this.extras = this.context.createGain();
    this.extras.connect(this.master);
  }

  _look() {
    const now = this.currentTime;
    this.dispatchEvent(new Event("timeupdate"));
    const end = this.loop ? this.loop[1] : Infinity;
    while (this._nextStroke < this.strokes.length) {
      const stroke = this.strokes[this._nextStroke];
      if (stroke.time > now + AHEAD_SECONDS || stroke.time >= end) break;
      const at = this._startedAt + stroke.time - this._position;
      if (at >= this.context.currentTime - 0.01) stroke.play(this.context, Math.max(at, this.context.currentTime), this.extras);
      this._nextStroke += 1;
    }
    if (this.loop && now >= this.loop[1] - 0.01) { this._stop(); this._start(this.loop[0]); return; }
    if (now >= this._duration - 0.005) {
      this._stop();
      this.paused = true;
      this._position = this._duration;
      this.ended = true;
      for (const name of ["timeupdate", "pause", "ended"]) this.dispatchEvent(new Event(name));
    }
  }

  setStrokes(strokes) {
    this.strokes = [...strokes].sort((a, b) => a.time - b.time);
    if (!this.paused) this.currentTime = this.currentTime;
  }

  load() {}
  canPlayType() { return "probably"; }
  removeAttribute() {}
  setAttribute() {}
  setSinkId() { return Promise.resolve(); }
}

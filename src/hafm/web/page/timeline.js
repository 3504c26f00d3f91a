// The timeline: waveform, pitch, bars, beats and chords, one width for all of them.
//
// wavesurfer draws the waveform and the ruler and marks the bars; the lanes are buttons of ours, so that
// keyboards and screen readers reach them.

import WaveSurfer from "./vendor/wavesurfer.esm.js";
import Regions from "./vendor/regions.esm.js";
import Timeline from "./vendor/timeline.esm.js";
import { WORDS } from "./words.js";

const $ = (id) => document.getElementById(id);
const STEP_SECONDS = 0.01;
const BIG_STEP_SECONDS = 0.05;
const SETTLE_MILLISECONDS = 700;

export class TimelineView extends EventTarget {
  // events: "edit" (detail: an edit), "marked" (detail: [first, last] or null)
  constructor(player) {
    super();
    this.player = player;
    this.sheet = null;
    this.marked = null;
    this.wave = null;
    this.zoom = 0.3;
    const draw = () => { this.follow(); requestAnimationFrame(draw); };
    requestAnimationFrame(draw);
    new ResizeObserver(() => this.wave && this.layOut()).observe($("scroller"));
    $("beats").addEventListener("pointerdown", (event) => this.dragBeat(event));
    $("beats").addEventListener("keydown", (event) => this.beatKey(event));
    $("bars").addEventListener("keydown", (event) => this.roveKey(event, "bars"));
    $("chords").addEventListener("keydown", (event) => event.target.tagName === "BUTTON" && this.roveKey(event, "chords"));
  }

  open(seconds, hearing) {
    this.close();
    this.seconds = seconds;
    this.player.duration = seconds;
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    this.regions = Regions.create();
    this.wave = WaveSurfer.create({
      container: $("wave"),
      height: 110,
      peaks: [hearing.peaks],
      duration: seconds,
      media: this.player,
      waveColor: colour("--wave"),
      progressColor: colour("--played"),
      cursorWidth: 0,
      normalize: true,
      hideScrollbar: true,
      autoScroll: false,
      cspNonce: document.querySelector("meta[name=nonce]").content,
      plugins: [
        this.regions,
        Timeline.create({ height: 18, timeInterval: seconds > 120 ? 5 : 1, primaryLabelInterval: 5, style: { fontSize: "12px", color: "var(--soft)" } }),
      ],
    });
    this.drawPitch(hearing.pitch);
    this.layOut();
  }

  close() {
    this.wave?.destroy();
    this.wave = null;
    this.sheet = null;
    this.mark(null);
    for (const id of ["bars", "beats", "chords", "grid", "pitch"]) $(id).replaceChildren();
  }

  drawPitch({ start_seconds: start, hop_seconds: hop, hertz }) {
    const sung = hertz.filter((hz) => hz > 0).map((hz) => 12 * Math.log2(hz / 440) + 69).sort((a, b) => a - b);
    const low = (sung[Math.floor(sung.length * 0.02)] ?? 48) - 3;
    const high = (sung[Math.ceil(sung.length * 0.98) - 1] ?? 72) + 3;
    let path = "";
    let before = 0;
    hertz.forEach((hz, index) => {
      const note = hz > 0 ? 12 * Math.log2(hz / 440) + 69 : 0;
      if (hz > 0) {
        const y = 100 * (1 - (Math.min(Math.max(note, low), high) - low) / (high - low));
        path += `${before && Math.abs(note - before) < 2 ? "L" : "M"}${(start + index * hop).toFixed(3)} ${y.toFixed(1)}`;
      }
      before = note;
    });
    const svg = $("pitch");
    svg.setAttribute("viewBox", `0 0 ${this.seconds} 100`);
    const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
    line.setAttribute("d", path);
    svg.replaceChildren(line);
  }

  get pixelsPerSecond() { return $("stage").clientWidth / this.seconds; }

  setZoom(value) {
    this.zoom = value;
    const middle = ($("scroller").scrollLeft + $("scroller").clientWidth / 2) / this.pixelsPerSecond;
    this.layOut();
    $("scroller").scrollLeft = middle * this.pixelsPerSecond - $("scroller").clientWidth / 2;
  }

  layOut() {
    const fits = $("scroller").clientWidth;
    const bars = Math.max(1, this.sheet?.bars.length ?? this.seconds / 2);
    const comfortable = Math.max(fits, bars * 74);
    const most = Math.max(comfortable * 1.5, this.seconds * 160);
    const width = this.zoom < 0.3
      ? fits + (comfortable - fits) * (this.zoom / 0.3)
      : comfortable + (most - comfortable) * ((this.zoom - 0.3) / 0.7);
    $("stage").style.width = `${Math.round(width)}px`;
    if (this.sheet) this.draw(this.sheet);
  }

  draw(sheet) {
    const focus = document.activeElement?.dataset?.place;
    this.sheet = sheet;
    const x = (seconds) => `${(100 * seconds) / this.seconds}%`;
    const make = (tag, className, place, start, end) => {
      const element = document.createElement(tag);
      element.className = className;
      element.dataset.place = place;
      element.style.left = x(start);
      if (end !== undefined) element.style.width = x(end - start);
      if (tag === "button") { element.type = "button"; element.tabIndex = -1; }
      return element;
    };
    const heads = [], chords = [], beats = [], lines = [];
    let number = 0;
    const known = new Map(sheet.sheet.beats?.map(([seconds], index) => [seconds.toFixed(6), index + 1]));
    sheet.bars.forEach((bar, index) => {
      const head = make("button", "bar-head", `bar-${index + 1}`, bar.start, bar.end);
      head.textContent = index + 1;
      const isMarked = this.marked && index + 1 >= this.marked[0] && index + 1 <= this.marked[1];
      head.setAttribute("aria-pressed", String(Boolean(isMarked)));
      head.setAttribute("aria-label", WORDS.bar(index + 1));
      head.onclick = (event) => this.markBar(index + 1, event.shiftKey);
      heads.push(head);
      const chord = make("button", "chord", `chord-${index + 1}`, bar.start, bar.end);
      chord.textContent = bar.chords === "?" ? "·" : bar.chords;
      chord.classList.toggle("unknown", bar.chords === "?");
      const silent = bar.without.map((player) => WORDS.silent_players[player]).join(", ");
      chord.setAttribute("aria-label", `${WORDS.chord_of(index + 1, bar.chords)} ${silent}`.trim());
      if (silent) {
        const without = document.createElement("small");
        without.textContent = silent;
        chord.append(" ", without);
      }
      chord.onclick = () => this.typeChord(index + 1);
      chords.push(chord);
    });
    const downs = new Set(sheet.bars.map((bar) => bar.start.toFixed(6)));
    (sheet.sheet.beats ?? []).forEach(([seconds, position], index) => {
      const isFirst = downs.has(seconds.toFixed(6));
      if (isFirst) number += 1;
      const beat = make("button", isFirst ? "beat first" : "beat", `beat-${index + 1}`, seconds);
      beat.dataset.seconds = seconds;
      beat.setAttribute("aria-label", WORDS.beat(number, position, seconds.toFixed(2)));
      beats.push(beat);
    });
    for (const bar of sheet.bars) {
      bar.beats.forEach((seconds, index) => {
        const line = document.createElement("i");
        line.style.left = x(seconds);
        if (index === 0) line.className = "first";
        lines.push(line);
      });
    }
    $("bars").replaceChildren(...heads);
    $("chords").replaceChildren(...chords);
    $("beats").replaceChildren(...beats);
    $("grid").replaceChildren(...lines);
    for (const id of ["bars", "chords", "beats"]) if ($(id).firstElementChild) $(id).firstElementChild.tabIndex = 0;
    if (focus) document.querySelector(`[data-place="${focus}"]`)?.focus({ preventScroll: true });
    this.showMarked();
  }

  // ---- the playhead

  follow() {
    if (!this.wave) return;
    const now = this.player.currentTime;
    const left = now * this.pixelsPerSecond;
    $("playhead").style.transform = `translateX(${left}px)`;
    if (!this.player.paused) {
      const scroller = $("scroller");
      if (left < scroller.scrollLeft || left > scroller.scrollLeft + scroller.clientWidth - 40) scroller.scrollLeft = left - 60;
    }
    const bars = this.sheet?.bars ?? [];
    let place = bars.findIndex((bar) => now >= bar.start && now < bar.end);
    if (place === this.place) return;
    for (const [id, index] of [["bars", this.place], ["chords", this.place]]) $(id).children[index]?.classList.remove("now");
    this.place = place;
    for (const id of ["bars", "chords"]) $(id).children[place]?.classList.add("now");
  }

  // ---- marked bars

  markBar(number, extends_) {
    if (extends_ && this.marked) {
      const [first, last] = this.marked;
      this.mark([Math.min(first, number), Math.max(last, number)]);
    } else if (this.marked && this.marked[0] === number && this.marked[1] === number) this.mark(null);
    else this.mark([number, number]);
  }

  mark(bars) {
    this.marked = bars;
    [...$("bars").children].forEach((head, index) => {
      const isMarked = bars && index + 1 >= bars[0] && index + 1 <= bars[1];
      head.setAttribute("aria-pressed", String(Boolean(isMarked)));
    });
    this.showMarked();
    this.dispatchEvent(new CustomEvent("marked", { detail: bars }));
  }

  get markedSeconds() {
    const bars = this.sheet?.bars;
    if (!this.marked || !bars?.[this.marked[1] - 1]) return null;
    return [bars[this.marked[0] - 1].start, bars[this.marked[1] - 1].end];
  }

  showMarked() {
    if (!this.wave) return;
    this.regions.clearRegions();
    const seconds = this.markedSeconds;
    if (seconds) {
      this.regions.addRegion({ start: seconds[0], end: seconds[1], drag: false, resize: false, color: "rgba(226, 178, 48, 0.25)" });
    }
  }

  // ---- chords

  typeChord(number) {
    const bar = this.sheet.bars[number - 1];
    const button = $("chords").children[number - 1];
    const field = document.createElement("input");
    field.className = "chord";
    field.dataset.place = `chord-${number}`;
    field.value = bar.chords === "?" ? "" : bar.chords;
    field.style.left = button.style.left;
    field.style.width = button.style.width;
    field.setAttribute("aria-label", WORDS.chord_of(number, bar.chords));
    let isOver = false;
    const end = (isKept, next) => {
      if (isOver) return;
      isOver = true;
      const text = field.value.trim();
      field.replaceWith(button);
      button.focus({ preventScroll: true });
      if (isKept && (text || "?") !== bar.chords) {
        this.dispatchEvent(new CustomEvent("edit", { detail: { edit: "bar", bar: number, chords: text || "?" } }));
      }
      if (next && this.sheet.bars[number - 1 + next]) setTimeout(() => this.typeChord(number + next), 0);
    };
    field.onkeydown = (event) => {
      event.stopPropagation();
      if (event.key === "Enter") end(true);
      else if (event.key === "Escape") end(false);
      else if (event.key === "Tab") { event.preventDefault(); end(true, event.shiftKey ? -1 : 1); }
    };
    field.onblur = () => end(true);
    button.replaceWith(field);
    field.focus();
    field.select();
  }

  // ---- beats

  dragBeat(event) {
    const beat = event.target.closest(".beat");
    if (!beat || event.button > 0) return;
    const number = Number(beat.dataset.place.slice(5));
    const old = Number(beat.dataset.seconds);
    const from = event.clientX;
    let seconds = old;
    beat.setPointerCapture(event.pointerId);
    const move = (moved) => {
      seconds = Math.min(Math.max(old + (moved.clientX - from) / this.pixelsPerSecond, 0), this.seconds);
      beat.style.left = `${(100 * seconds) / this.seconds}%`;
    };
    const up = () => {
      beat.removeEventListener("pointermove", move);
      beat.removeEventListener("pointerup", up);
      beat.removeEventListener("pointercancel", up);
      if (Math.abs(seconds - old) * this.pixelsPerSecond > 2) this.moveBeat(number, seconds);
      else { beat.style.left = `${(100 * old) / this.seconds}%`; beat.focus(); }
    };
    beat.addEventListener("pointermove", move);
    beat.addEventListener("pointerup", up);
    beat.addEventListener("pointercancel", up);
  }

  // The first downbeat carries all bars with it; any other beat moves alone, and its neighbours make room.
  moveBeat(number, seconds) {
    const first = this.sheet.bars[0]?.start.toFixed(6);
    const isFirst = this.sheet.sheet.beats[number - 1][0].toFixed(6) === first;
    const edit = isFirst ? { edit: "first_beat", seconds } : { edit: "move_beat", beat: number, seconds };
    this.dispatchEvent(new CustomEvent("edit", { detail: edit }));
  }

  beatKey(event) {
    const beat = event.target.closest(".beat");
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!beat || !way || !event.shiftKey) { this.roveKey(event, "beats"); return; }
    event.preventDefault();
    event.stopPropagation();
    const seconds = Number(beat.dataset.seconds) + way * (event.altKey ? BIG_STEP_SECONDS : STEP_SECONDS);
    beat.dataset.seconds = seconds;
    beat.style.left = `${(100 * seconds) / this.seconds}%`;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.moveBeat(Number(beat.dataset.place.slice(5)), seconds), SETTLE_MILLISECONDS);
  }

  // Arrow keys within a lane; Tab goes from lane to lane.
  roveKey(event, id) {
    const all = [...$(id).children];
    const at = all.indexOf(event.target);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (at < 0 || to === undefined || !all[to]) return;
    event.preventDefault();
    event.stopPropagation();
    all[at].tabIndex = -1;
    all[to].tabIndex = 0;
    all[to].focus();
    if (id === "bars" && event.shiftKey) this.markBar(to + 1, true);
  }
}

// A tempo from taps: the line through them, not the last two.

const PAUSE_MILLISECONDS = 2200;
const LEAST = 4;
const SETTLE_MILLISECONDS = 900;

// `done(bpm, firstSeconds)` is called when the taps have stopped; `place()` says where the sound is, or null.
export function tapper(done, place) {
  let times = [];
  let places = [];
  let timer = 0;
  return () => {
    const now = performance.now();
    if (times.length && now - times[times.length - 1] > PAUSE_MILLISECONDS) { times = []; places = []; }
    times.push(now);
    places.push(place());
    clearTimeout(timer);
    if (times.length < LEAST) return;
    timer = setTimeout(() => {
      const isPlayed = places.every((each) => each !== null) && places.every((each, index) => !index || each > places[index - 1]);
      const { period, first } = line(isPlayed ? places : times.map((time) => time / 1000));
      times = [];
      places = [];
      const bpm = Math.round(6000 / period) / 100;
      if (bpm >= 20 && bpm <= 400) done(bpm, isPlayed ? Math.max(0, first) : null);
    }, SETTLE_MILLISECONDS);
  };
}

// Least squares: tap n is at first + n * period.
export function line(seconds) {
  const n = seconds.length;
  const middle = (n - 1) / 2;
  const mean = seconds.reduce((sum, each) => sum + each, 0) / n;
  let above = 0;
  let below = 0;
  seconds.forEach((each, index) => {
    above += (index - middle) * (each - mean);
    below += (index - middle) ** 2;
  });
  const period = above / below;
  return { period, first: mean - middle * period };
}

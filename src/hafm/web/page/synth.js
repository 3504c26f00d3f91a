// Click and plain chords, synthesised here: to check beats and chords before any band plays.

export function clickAt(time, isFirst) {
  return {
    time,
    play(context, at, out) {
      const tone = context.createOscillator();
      const gain = context.createGain();
      tone.frequency.value = isFirst ? 1500 : 1000;
      gain.gain.setValueAtTime(isFirst ? 0.35 : 0.22, at);
      gain.gain.exponentialRampToValueAtTime(0.001, at + 0.05);
      tone.connect(gain).connect(out);
      tone.start(at);
      tone.stop(at + 0.06);
    },
  };
}

// Notes are MIDI numbers; the first is the bass.
export function chordAt(time, seconds, notes) {
  return {
    time,
    play(context, at, out) {
      notes.forEach((note, index) => {
        const tone = context.createOscillator();
        const gain = context.createGain();
        tone.type = index === 0 ? "sine" : "triangle";
        tone.frequency.value = 440 * 2 ** ((note - 69) / 12);
        const level = index === 0 ? 0.12 : 0.06;
        gain.gain.setValueAtTime(0, at);
        gain.gain.linearRampToValueAtTime(level, at + 0.02);
        gain.gain.setTargetAtTime(level * 0.4, at + 0.05, 0.6);
        gain.gain.setTargetAtTime(0, at + Math.max(0.05, seconds - 0.06), 0.02);
        tone.connect(gain).connect(out);
        tone.start(at);
        tone.stop(at + seconds + 0.1);
      });
    },
  };
}

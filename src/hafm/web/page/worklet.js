// Hands samples on as they come, silence where nothing comes: time must not be lost. What is heard is not touched.

const BLOCK = 128;

class Tape extends AudioWorkletProcessor {
  process([input]) {
    const samples = input[0]?.length ? input[0].slice() : new Float32Array(BLOCK);
    this.port.postMessage({ frame: currentFrame, samples });
    return true;
  }
}

registerProcessor("tape", Tape);

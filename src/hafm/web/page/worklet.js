// Hands samples on as they come; what is heard is not touched.

class Tape extends AudioWorkletProcessor {
  process([input]) {
    if (input[0]?.length) this.port.postMessage({ frame: currentFrame, samples: input[0].slice() });
    return true;
  }
}

registerProcessor("tape", Tape);

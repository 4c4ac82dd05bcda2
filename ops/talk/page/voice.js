// The voice: one of this machine only, since others send the text over the network.
import { $ } from "./elements.js";
import { shown } from "./call_state.js";

export const voice = {
  on: false,
  spoken: new Map(), // By turn: how many words the voice has got.
  takes(turn) {
    if (!this.on || !window.speechSynthesis) return;
    if (turn.interrupted_at_ms != null) {
      speechSynthesis.cancel();
      return;
    }
    const from = this.spoken.get(turn.number) ?? (turn.now_ms == null ? turn.words.length : 0);
    let until = turn.words.length;
    if (turn.now_ms != null) { // An unfinished answer waits for the end of its clause.
      while (until > from && !/[.,;:!?…。、]\s*$/.test(turn.words[until - 1].text)) until -= 1;
    }
    this.spoken.set(turn.number, until);
    this.says(turn.words.slice(from, until).map((word) => word.text).join(""));
    if (turn.now_ms == null) this.says(turn.platform_says);
  },
  says(text) {
    if (!text.trim()) return;
    const local = speechSynthesis.getVoices().filter((each) => each.localService);
    const chosen = local.find((each) => each.lang.startsWith(shown.call.language)) ?? local[0];
    if (!chosen) {
      $("problem").textContent = "This browser has no voice of its own on this machine.";
      return;
    }
    const utterance = new SpeechSynthesisUtterance(text);
    utterance.voice = chosen;
    utterance.lang = chosen.lang;
    speechSynthesis.speak(utterance);
  },
};

$("hear").hidden = !window.speechSynthesis;
$("hear").addEventListener("click", () => {
  voice.on = !voice.on;
  $("hear").setAttribute("aria-pressed", voice.on);
  if (!voice.on) speechSynthesis.cancel();
});

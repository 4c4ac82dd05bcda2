// Push-to-talk. Some browsers send the sound to their vendor's servers: the button says so.
import { $ } from "./elements.js";
import { interrupt, say } from "./actions.js";
import { complain } from "./server_api.js";
import { shown } from "./call_state.js";

const Recognition = window.SpeechRecognition ?? window.webkitSpeechRecognition;
if (Recognition) {
  const button = $("speak");
  button.hidden = false;
  let listening = null;
  const begin = () => {
    if (listening || button.disabled) return;
    interrupt();
    listening = new Recognition();
    listening.lang = shown.call.language;
    listening.onresult = (event) => say(event.results[0][0].transcript);
    listening.onerror = (event) => complain(new Error(`speech was not recognised: ${event.error}`));
    listening.onend = () => {
      listening = null;
      button.setAttribute("aria-pressed", false);
    };
    listening.start();
    button.setAttribute("aria-pressed", true);
  };
  const end = () => listening?.stop();
  button.addEventListener("pointerdown", begin);
  for (const kind of ["pointerup", "pointerleave", "blur"]) button.addEventListener(kind, end);
  button.addEventListener("keydown", (event) => {
    if (event.key === " " && !event.repeat) begin();
  });
  button.addEventListener("keyup", (event) => {
    if (event.key === " ") end();
  });
}

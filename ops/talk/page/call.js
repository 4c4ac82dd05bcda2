// Shows the call as a whole: server, language, state, first message, end.
import { $, make } from "./elements.js";
import { shown } from "./call_state.js";

export function drawCall() {
  const { call } = shown;
  const kind = call.settings.api_type.replace("_", " ");
  const state = Object.keys(call.state).length ? ` · state ${JSON.stringify(call.state)}` : "";
  const language = call.settings.language || call.language !== "en" ? ` · ${call.language}` : "";
  $("where").textContent = `${call.server} · ${kind}${language}${state}`;
  $("behaviours").hidden = call.behaviour === null;
  for (const button of $("behaviours").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", button.dataset.behaviour === call.behaviour);
  }
  let over = $("over");
  if (call.ended && !over) {
    over = make("p", "over");
    over.id = "over";
    $("turns").append(over);
  }
  const words = {
    hung_up: "The call has ended.", transferred: "The call was transferred.",
    voicemail: "A machine answered; the call has ended.", failed: "The call was dropped.",
  };
  if (over) over.textContent = words[call.ended] ?? "";
  for (const id of ["text", "go", "silence", "speak"]) $(id).disabled = Boolean(call.ended);
}

export function greet() {
  if (!shown.call.settings.first_message || $("greeting")) return;
  const article = make("article");
  article.id = "greeting";
  article.append(make("p", "caller", "the platform begins"));
  article.append(make("p", "said", shown.call.settings.first_message));
  $("hint")?.remove();
  $("turns").prepend(article);
}

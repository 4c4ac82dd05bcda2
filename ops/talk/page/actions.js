// What a person does: type, interrupt, say nothing, choose how the model behaves, save.
import { $, make } from "./elements.js";
import { complain, post } from "./server_api.js";

export function say(text) {
  window.speechSynthesis?.cancel();
  return post("say", { text }).catch(complain);
}

export function interrupt() {
  window.speechSynthesis?.cancel();
  return post("interrupt", {}).catch(complain);
}

$("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  say(text);
});
$("silence").addEventListener("click", () => say("..."));
$("interrupt").addEventListener("click", interrupt);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("interrupt").disabled) interrupt();
});
$("behaviours").addEventListener("click", (event) => {
  const { behaviour } = event.target.dataset;
  if (behaviour) post("behaviour", { behaviour }).catch(complain);
});
$("save").addEventListener("click", async () => {
  const answer = await fetch("saved");
  const link = make("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = "saved.yaml";
  link.click();
  URL.revokeObjectURL(link.href);
});

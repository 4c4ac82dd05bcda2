// The agent's form: shows the settings of the current call; submitting it begins a new one.
import { $, make } from "./elements.js";
import { post } from "./server_api.js";

export function fillSettings({ settings, system_tools: names }) {
  for (const id of ["prompt", "first_message", "language", "api_type"]) {
    $(id).value = settings[id];
  }
  $("tools").value = settings.tools.length ? JSON.stringify(settings.tools, null, 1) : "";
  $("system_tools").replaceChildren(...names.map((name) => {
    const label = make("label");
    const box = make("input");
    box.type = "checkbox";
    box.value = name;
    box.checked = settings.system_tools.includes(name);
    label.append(box, name);
    return label;
  }));
}

$("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  $("unusable").textContent = "";
  let tools;
  try {
    tools = JSON.parse($("tools").value.trim() || "[]");
    if (!Array.isArray(tools)) throw new Error("the tools must be a list: [ … ]");
  } catch (error) {
    $("unusable").textContent = error.message;
    return;
  }
  const picked = [...$("system_tools").querySelectorAll("input:checked")];
  post("begin", {
    prompt: $("prompt").value,
    first_message: $("first_message").value,
    language: $("language").value,
    api_type: $("api_type").value,
    system_tools: picked.map((box) => box.value),
    tools,
  }).then(() => {
    $("agent").open = false;
    $("text").focus();
  }, (error) => { $("unusable").textContent = error.message; });
});

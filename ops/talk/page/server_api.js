// Sends requests to the process behind the page, and shows refusals. Addresses are relative, so the
// token appears only in the page's own.
import { $ } from "./elements.js";

export function post(path, body) {
  return fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  }).then(async (answer) => {
    $("problem").textContent = "";
    if (!answer.ok) throw new Error(await answer.text());
  });
}

export function complain(error) {
  $("problem").textContent = error.message;
}

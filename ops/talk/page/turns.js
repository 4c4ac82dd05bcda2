// The turns on the page: each is redrawn when more of it is known, and while it is spoken.
import { $, make } from "./elements.js";
import { askForLog, inside } from "./frames.js";
import { complain, post } from "./server_api.js";
import { shown } from "./call_state.js";
import { timeLine } from "./time_line.js";
import { factsLine, saidLine } from "./turn_in_words.js";

export function draw(number) {
  const { turn, toldAt } = shown.turns.get(number);
  const live = turn.now_ms != null;
  const nowMs = live ? turn.now_ms + performance.now() - toldAt : Infinity;
  let article = $(`turn-${number}`);
  if (!article) {
    article = make("article");
    article.id = `turn-${number}`;
    $("hint")?.remove();
    $("turns").append(article);
  }
  let open = article.querySelector("details")?.open ?? false;
  const caller = make("p", "caller");
  if (turn.caller === null) {
    const called = shown.turns.get(number - 1)?.turn.calls ?? [];
    turn.results.forEach((text, at) =>
      caller.append(make("code", "", `${called[at]?.name ?? "tool"} → ${text}`), " "));
  } else caller.textContent = turn.caller === "..." ? "(the caller says nothing)" : `“${turn.caller}”`;
  const facts = factsLine(turn, live);
  article.dataset.live = live;
  article.replaceChildren(caller, saidLine(turn, nowMs, live), facts, timeLine(turn, nowMs, live));
  if (!live) {
    const details = make("details");
    details.append(make("summary", "", "frames and log"));
    const box = inside(turn);
    box.hidden = !open;
    details.open = open;
    details.addEventListener("toggle", () => {
      box.hidden = !details.open;
      // What was open before the redraw has already been fetched.
      if (details.open && !open && turn.posts.some((each) => !each.log)) drawWithLog(number);
      open = details.open;
    });
    facts.append(details);
    article.append(box);
    for (const id of turn.waits_for) {
      article.append(bringForm(id, turn.calls.find((each) => each.id === id).name));
    }
  }
}

export async function drawWithLog(number) {
  if (await askForLog(number)) draw(number);
}

function bringForm(id, name) {
  const form = make("form", "bring");
  const value = make("input");
  value.value = '{"ok": true}';
  value.setAttribute("aria-label", `The result of ${name}`);
  form.append(make("code", "", `${name} →`), value, make("button", "", "Send the result"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    let told = value.value;
    try {
      told = JSON.parse(told);
    } catch { /* a result may be plain text */ }
    post("result", { id, value: told }).catch(complain);
    form.remove();
  });
  return form;
}

let ticking = false;
export function tick() {
  if (ticking) return;
  const running = [...shown.turns.values()].filter((each) => each.turn.now_ms != null);
  $("interrupt").disabled = !running.length;
  if (!running.length) return;
  ticking = true;
  running.forEach((each) => draw(each.turn.number));
  setTimeout(() => {
    ticking = false;
    tick();
  }, 50);
}

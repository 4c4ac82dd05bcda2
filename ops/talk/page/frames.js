// Shows the answer byte for byte, and the deployment's log lines about it.
import { make } from "./elements.js";
import { shown } from "./call_state.js";

export function inside(turn) {
  const box = make("div", "inside");
  for (const each of turn.posts) {
    box.append(make("h3", "", `post ${each.number}: status ${each.status || "none"}`));
    for (const [ms, text] of each.frames) {
      box.append(make("div", "", `${ms.toFixed(0).padStart(6)} ms  ${text.trim()}`));
    }
    if (each.log) box.append(make("h3", "", "log line"), make("div", "", pretty(each.log)));
  }
  return box;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

// Fetches the deployment's log lines when the frames are opened, or when a turn was left before the
// deployment could report its candidates. False: another call has begun in the meantime.
export async function askForLog(number) {
  const asked = shown.of;
  const lines = await (await fetch("logs")).json();
  if (asked !== shown.of) return false;
  let before = 0;
  for (let each = 1; each < number; each += 1) {
    before += shown.turns.get(each)?.turn.posts.length ?? 0;
  }
  const { turn } = shown.turns.get(number);
  const missing = !turn.candidates.length;
  turn.posts.forEach((each, at) => {
    each.log = lines[before + at];
    if (!each.log || !missing) return;
    const told = JSON.parse(each.log).candidates ?? [];
    for (const life of told) {
      const moved = Object.entries(life).map(([name, value]) =>
        [name, name.endsWith("_ms") ? value + each.sent_ms : value]);
      turn.candidates.push(Object.fromEntries(moved));
    }
  });
  return true;
}

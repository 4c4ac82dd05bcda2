// One turn in words: what was said, what was heard of it, and its numbers.
import { make, seconds } from "./elements.js";

export function saidLine(turn, nowMs, live) {
  const line = make("p", "said");
  const cut = turn.interrupted_at_ms;
  for (const word of turn.words) {
    if (word.from_ms > nowMs) break;
    const unheard = cut != null && word.until_ms > cut;
    const kind = unheard ? "unheard" : word.is_buffer ? "ours" : "";
    const last = line.lastChild;
    if (last && last.dataset.kind === kind) last.append(word.text);
    else {
      const span = make(unheard ? "s" : "span", kind, word.text);
      span.dataset.kind = kind;
      line.append(span);
    }
  }
  if (line.childNodes.length) line.append(" ");
  if (turn.platform_says) line.append(make("span", "platform", `${turn.platform_says} `));
  for (const each of turn.calls) {
    line.append(make("code", "", `${each.name} ${each.arguments}`), " ");
    if (each.shows) line.append(make("span", "platform", `${each.shows} `));
  }
  if (!live && !line.childNodes.length) line.append(make("span", "nothing", "nothing was heard"));
  return line;
}

export function factsLine(turn, live) {
  const facts = make("div", "facts");
  const say = (text, tag = "span", kind = "") => facts.append(make(tag, kind, text));
  if (turn.first_sound_ms != null) {
    const to = turn.words.length ? "first sound" : "the call";
    say(`${seconds(turn.first_sound_ms)} to ${to}`, "b");
  } else say(live ? "silence" : "no sound", "b");
  const answer = turn.answer_ms;
  if (answer != null && answer - turn.first_sound_ms > 50) say(`${seconds(answer)} to the answer`);
  const headers = turn.posts.at(-1)?.headers_ms;
  if (headers != null) say(`headers ${Math.round(headers)} ms`);
  const winner = turn.candidates.find((each) => each.why === "answered");
  if (winner) say(winner.candidate);
  const count = turn.candidates.length;
  if (count) say(count === 1 ? "1 request" : `${count} requests`);
  if (turn.posts.length > 1) say(`the platform asked ${turn.posts.length} times`);
  if (turn.behaviour !== "well") say(`the model was ${turn.behaviour}`);
  if (turn.interrupted_at_ms != null) say("interrupted");
  for (const each of turn.troubles) say(`${each.cause}: ${each.detail}`, "span", "trouble");
  return facts;
}

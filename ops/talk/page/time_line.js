// One turn as a time line: what sounded, each request to a model, and when the platform would ask
// again.
import { make, seconds } from "./elements.js";
import { shown } from "./call_state.js";

const AXIS_MS = 6000; // One axis for all turns, so that lengths can be compared.

const percent = (ms) => `${(100 * Math.max(0, ms)) / AXIS_MS}%`;

function bar(lane, className, fromMs, untilMs, text = "") {
  const end = Math.min(untilMs, AXIS_MS);
  if (fromMs >= AXIS_MS || end < fromMs) return null;
  const element = make("div", `bar ${className}`, text);
  element.style.left = percent(fromMs);
  element.style.width = percent(end - fromMs);
  lane.append(element);
  return element;
}

function mark(parent, className, ms, text = "") {
  if (ms > AXIS_MS) return;
  const element = make("div", className, text);
  element.style.left = percent(ms);
  parent.append(element);
}

// Words of one speaker without a pause between them are one stretch of speech.
function stretches(words) {
  const found = [];
  for (const word of words) {
    const last = found.at(-1);
    if (last && last.is_buffer === word.is_buffer && word.from_ms - last.until_ms < 60) {
      last.text += word.text;
      last.until_ms = word.until_ms;
    } else {
      found.push({ ...word });
    }
  }
  return found;
}

function speechLane(turn, nowMs) {
  const lane = make("div", "lane speech");
  const cut = turn.interrupted_at_ms ?? Infinity;
  let silentFrom = 0;
  for (const piece of stretches(turn.words.filter((word) => word.from_ms <= nowMs))) {
    if (piece.from_ms - silentFrom > 60) silence(lane, silentFrom, piece.from_ms);
    const kind = piece.is_buffer ? "buffer" : "answer";
    const until = Math.min(piece.until_ms, nowMs);
    bar(lane, kind, piece.from_ms, Math.min(until, cut), piece.text.trim());
    if (until > cut) bar(lane, "unheard", Math.max(cut, piece.from_ms), until);
    silentFrom = piece.until_ms;
  }
  const end = turn.words.length ? 0 : Math.min(nowMs, turn.called_at_ms ?? lastOf(turn));
  if (end > silentFrom) silence(lane, silentFrom, end);
  const over = turn.words.at(-1)?.until_ms ?? 0;
  if (over > AXIS_MS && nowMs > AXIS_MS) {
    lane.append(make("div", "beyond", `${Math.round(over / 1000)} s →`));
  }
  return lane;
}

function silence(lane, fromMs, untilMs) {
  const long = untilMs - fromMs > 900;
  bar(lane, "silence", fromMs, untilMs, long ? `${((untilMs - fromMs) / 1000).toFixed(1)} s` : "");
}

function lastOf(turn) {
  return Math.max(0, ...turn.posts.map((each) => each.ended_ms ?? 0));
}

// The deployment reports what each candidate did. If it does not, the request itself is drawn.
function lives(turn, nowMs) {
  const told = turn.candidates.map((each) => ({
    from: each.sent_ms, word: each.first_word_ms, until: each.ended_ms ?? nowMs,
    name: each.candidate, asked: each.asked, why: each.why ?? "",
  }));
  if (told.length) return told.filter((each) => each.from !== undefined);
  return turn.posts.map((each) => ({
    from: each.sent_ms, word: each === turn.posts.at(-1) ? turn.answer_ms : null,
    until: each.ended_ms ?? nowMs, name: "request", asked: each.number > 1 ? "again" : "first",
    why: each.gave_up ? "given_up" : "answered",
  }));
}

function lifeLane(life, turn, isLast) {
  const lane = make("div", "lane thin");
  const lost = ["answered", "empty"].includes(life.why) ? "" : "lost";
  const word = Math.min(life.word ?? Infinity, life.until);
  bar(lane, `waiting ${lost}`, life.from, word);
  if (life.word != null) bar(lane, `speaking ${lost}`, word, life.until);
  if (isLast && turn.called_at_ms != null) {
    bar(lane, "tool", turn.called_at_ms - 40, turn.called_at_ms + 40).title = "a tool is called";
  }
  const odd = life.name !== "upstream" || life.asked !== "first" || life.why !== "answered";
  const parts = [life.name, life.asked, life.why.replaceAll("_", " ")];
  lane.title = parts.join(" · ");
  if (odd && life.name !== "request") mark(lane, "why", Math.min(life.until, 4800), lane.title);
  return lane;
}

export function timeLine(turn, nowMs, live) {
  const lanes = make("div", "lanes");
  for (let second = 0; second <= AXIS_MS / 1000; second += 1) {
    mark(lanes, "second", second * 1000);
    const edge = second === 0 ? "start" : second * 1000 === AXIS_MS ? "end" : "";
    mark(lanes, `tick ${edge}`, second * 1000, second ? `${second}` : "0 s");
  }
  lanes.append(speechLane(turn, nowMs));
  const drawn = lives(turn, nowMs);
  drawn.forEach((life, at) => lanes.append(lifeLane(life, turn, at === drawn.length - 1)));
  const tokens = make("div", "lane tokens");
  for (const ms of turn.tokens) bar(tokens, "speaking", ms, ms);
  lanes.append(tokens);
  for (const each of turn.posts) {
    mark(lanes, each.gave_up ? "patience over" : "patience", each.sent_ms + shown.call.patience_ms);
  }
  if (!turn.posts.length) mark(lanes, "patience", shown.call.patience_ms);
  if (turn.interrupted_at_ms != null) mark(lanes, "cut", turn.interrupted_at_ms);
  if (live) mark(lanes, "now", nowMs);
  lanes.setAttribute("role", "img");
  lanes.setAttribute("aria-label", spoken(turn));
  return lanes;
}

function spoken(turn) {
  if (turn.first_sound_ms == null) return "Time line: nothing was heard";
  return `Time line: silence until ${seconds(turn.first_sound_ms)}, then ${turn.heard}`;
}

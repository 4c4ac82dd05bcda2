// The page: what it is told is drawn, what is typed is sent. It keeps nothing that the process
// does not know, so that a reload shows the same call. Addresses are relative: the token stays in
// the page's own.
"use strict";

const AXIS_MS = 6000; // One axis for all turns, so that lengths can be compared.
const $ = (id) => document.getElementById(id);
const turns = new Map(); // By number: the turn as it was told, and when we were told.
let call = null;
let of = 0; // The call's number: another one begins with an empty page.

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

function post(path, body) {
  return fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  }).then(async (answer) => {
    $("problem").textContent = "";
    if (!answer.ok) throw new Error(await answer.text());
  });
}

function complain(error) {
  $("problem").textContent = error.message;
}

// ---- the time line

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

// Words that follow each other without a pause, of one speaker, are one stretch of speech.
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

// A candidate's life is told by the deployment. Where it tells nothing, the request's own is drawn.
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

function timeLine(turn, nowMs, live) {
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
    mark(lanes, each.gave_up ? "patience over" : "patience", each.sent_ms + call.patience_ms);
  }
  if (!turn.posts.length) mark(lanes, "patience", call.patience_ms);
  if (turn.interrupted_at_ms != null) mark(lanes, "cut", turn.interrupted_at_ms);
  if (live) mark(lanes, "now", nowMs);
  lanes.setAttribute("role", "img");
  lanes.setAttribute("aria-label", spoken(turn));
  return lanes;
}

const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;

function spoken(turn) {
  if (turn.first_sound_ms == null) return "Time line: nothing was heard";
  return `Time line: silence until ${seconds(turn.first_sound_ms)}, then ${turn.heard}`;
}

// The deployment's log lines are asked for when somebody looks, or where a turn was left before the
// deployment could tell of its candidates.
async function askForLog(number) {
  const asked = of;
  const lines = await (await fetch("logs")).json();
  if (asked !== of) return; // Another call has begun.
  let before = 0;
  for (let each = 1; each < number; each += 1) before += turns.get(each)?.turn.posts.length ?? 0;
  const { turn } = turns.get(number);
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
  draw(number);
}

// ---- a turn in words

function saidLine(turn, nowMs, live) {
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

function factsLine(turn, live) {
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
  if (turn.day !== "well") say(`the model was ${turn.day}`);
  if (turn.interrupted_at_ms != null) say("interrupted");
  for (const each of turn.troubles) say(`${each.cause}: ${each.detail}`, "span", "trouble");
  return facts;
}

function inside(turn) {
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

function bringForm(id, name) {
  const form = make("form", "bring");
  const value = make("input");
  value.value = '{"ok": true}';
  value.setAttribute("aria-label", `The result of ${name}`);
  form.append(make("code", "", `${name} →`), value, make("button", "", "Bring the result"));
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

function draw(number) {
  const { turn, toldAt } = turns.get(number);
  const live = turn.now_ms != null;
  const nowMs = live ? turn.now_ms + performance.now() - toldAt : Infinity;
  let article = $(`turn-${number}`);
  if (!article) {
    article = make("article");
    article.id = `turn-${number}`;
    $("hint")?.remove();
    $("turns").append(article);
  }
  const open = article.querySelector("details")?.open ?? false;
  const caller = make("p", "caller");
  if (turn.caller === null) {
    const called = turns.get(number - 1)?.turn.calls ?? [];
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
      if (details.open && turn.posts.some((each) => !each.log)) askForLog(number);
    });
    facts.append(details);
    article.append(box);
    for (const id of turn.waits_for) {
      article.append(bringForm(id, turn.calls.find((each) => each.id === id).name));
    }
  }
}

// ---- the call

function drawCall() {
  const kind = call.settings.api_type.replace("_", " ");
  const state = Object.keys(call.state).length ? ` · state ${JSON.stringify(call.state)}` : "";
  const language = call.settings.language || call.language !== "en" ? ` · ${call.language}` : "";
  $("where").textContent = `${call.server} · ${kind}${language}${state}`;
  $("days").hidden = call.day === null;
  for (const button of $("days").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", button.dataset.day === call.day);
  }
  let over = $("over");
  if (call.ended && !over) {
    over = make("p", "over");
    over.id = "over";
    $("turns").append(over);
  }
  const words = {
    hung_up: "The call has ended.", transferred: "The call was handed over.",
    voicemail: "A machine answered; the call has ended.", failed: "The call was dropped.",
  };
  if (over) over.textContent = words[call.ended] ?? "";
  for (const id of ["text", "go", "silence", "speak"]) $(id).disabled = Boolean(call.ended);
}

function greet() {
  if (!call.settings.first_message || $("greeting")) return;
  const article = make("article");
  article.id = "greeting";
  article.append(make("p", "caller", "the platform begins"));
  article.append(make("p", "said", call.settings.first_message));
  $("hint")?.remove();
  $("turns").prepend(article);
}

function fillSettings() {
  for (const id of ["prompt", "first_message", "language", "api_type"]) {
    $(id).value = call.settings[id];
  }
  $("tools").value = call.settings.tools.length ? JSON.stringify(call.settings.tools, null, 1) : "";
  $("system_tools").replaceChildren(...call.system_tools.map((name) => {
    const label = make("label");
    const box = make("input");
    box.type = "checkbox";
    box.value = name;
    box.checked = call.settings.system_tools.includes(name);
    label.append(box, name);
    return label;
  }));
}

function told(event) {
  const news = JSON.parse(event.data);
  if (news.of !== of) {
    of = news.of;
    turns.clear();
    $("turns").replaceChildren();
    call = null;
  }
  if (news.call) {
    const first = call === null;
    call = news.call;
    if (first) fillSettings();
    greet();
    drawCall();
  } else if (news.turn) {
    const atEnd = innerHeight + scrollY >= document.body.scrollHeight - 120;
    turns.set(news.turn.number, { turn: news.turn, toldAt: performance.now() });
    draw(news.turn.number);
    voice.takes(news.turn);
    if (atEnd) scrollTo(0, document.body.scrollHeight);
    requestAnimationFrame(tick);
    const { number, now_ms: nowMs, candidates } = news.turn;
    if (nowMs == null && !candidates.length) {
      setTimeout((asked) => { if (asked === of) askForLog(number); }, 500, of);
    }
  } else if (news.text) $("problem").textContent = news.text;
}

let ticking = false;
function tick() {
  if (ticking) return;
  const running = [...turns.values()].filter((each) => each.turn.now_ms != null);
  $("interrupt").disabled = !running.length;
  if (!running.length) return;
  ticking = true;
  running.forEach((each) => draw(each.turn.number));
  setTimeout(() => {
    ticking = false;
    tick();
  }, 50);
}

// ---- the voice: only one of this machine's, since others are asked over the network

const voice = {
  on: false,
  spoken: new Map(), // By turn: how many words were given to the voice.
  takes(turn) {
    if (!this.on || !window.speechSynthesis) return;
    if (turn.interrupted_at_ms != null) {
      speechSynthesis.cancel();
      return;
    }
    const from = this.spoken.get(turn.number) ?? (turn.now_ms == null ? turn.words.length : 0);
    let until = turn.words.length;
    if (turn.now_ms != null) { // What is not over yet waits for its clause's end.
      while (until > from && !/[.,;:!?…。、]\s*$/.test(turn.words[until - 1].text)) until -= 1;
    }
    this.spoken.set(turn.number, until);
    this.says(turn.words.slice(from, until).map((word) => word.text).join(""));
    if (turn.now_ms == null) this.says(turn.platform_says);
  },
  says(text) {
    if (!text.trim()) return;
    const local = speechSynthesis.getVoices().filter((each) => each.localService);
    const chosen = local.find((each) => each.lang.startsWith(call.language)) ?? local[0];
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

// ---- what the hands do

function say(text) {
  window.speechSynthesis?.cancel();
  return post("say", { text }).catch(complain);
}

function interrupt() {
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
$("days").addEventListener("click", (event) => {
  const { day } = event.target.dataset;
  if (day) post("day", { day }).catch(complain);
});
$("hear").hidden = !window.speechSynthesis;
$("hear").addEventListener("click", () => {
  voice.on = !voice.on;
  $("hear").setAttribute("aria-pressed", voice.on);
  if (!voice.on) speechSynthesis.cancel();
});
$("save").addEventListener("click", async () => {
  const answer = await fetch("saved");
  const link = make("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = "saved.yaml";
  link.click();
  URL.revokeObjectURL(link.href);
});
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

// Push-to-talk. Some browsers send the sound to their maker's servers: the button says so.
const Recognition = window.SpeechRecognition ?? window.webkitSpeechRecognition;
if (Recognition) {
  const button = $("speak");
  button.hidden = false;
  let listening = null;
  const begin = () => {
    if (listening || button.disabled) return;
    interrupt();
    listening = new Recognition();
    listening.lang = call.language;
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

const news = new EventSource("events");
news.addEventListener("message", told);
news.addEventListener("error", () => complain(new Error("The process behind this page does not answer.")));
news.addEventListener("open", () => { $("problem").textContent = ""; });
$("text").focus();

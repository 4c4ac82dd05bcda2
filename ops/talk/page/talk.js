// Draws what the process sends. The buttons' modules send what the user does.
import { drawCall, greet } from "./call.js";
import { $ } from "./elements.js";
import { complain } from "./server_api.js";
import "./push_to_talk.js";
import { fillSettings } from "./settings.js";
import { shown } from "./call_state.js";
import { draw, drawWithLog, tick } from "./turns.js";
import { voice } from "./voice.js";

function told(event) {
  const news = JSON.parse(event.data);
  if (news.of !== shown.of) {
    shown.of = news.of;
    shown.turns.clear();
    $("turns").replaceChildren();
    shown.call = null;
  }
  if (news.call) {
    const first = shown.call === null;
    shown.call = news.call;
    if (first) fillSettings(shown.call);
    greet();
    drawCall();
  } else if (news.turn) {
    const atEnd = innerHeight + scrollY >= document.body.scrollHeight - 120;
    shown.turns.set(news.turn.number, { turn: news.turn, toldAt: performance.now() });
    draw(news.turn.number);
    voice.takes(news.turn);
    if (atEnd) scrollTo(0, document.body.scrollHeight);
    requestAnimationFrame(tick);
    const { number, now_ms: nowMs, candidates } = news.turn;
    if (nowMs == null && !candidates.length) {
      setTimeout((asked) => { if (asked === shown.of) drawWithLog(number); }, 500, shown.of);
    }
  } else if (news.text) $("problem").textContent = news.text;
}

const news = new EventSource("events");
news.addEventListener("message", told);
news.addEventListener("error", () => complain(new Error("The process behind this page does not answer.")));
news.addEventListener("open", () => { $("problem").textContent = ""; });
$("text").focus();

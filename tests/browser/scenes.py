"""The answers of the browser tests' model, which speaks for a small shop."""

from __future__ import annotations

from local.scripted.script import Script, answer, call, calls
from local.scripted.script_player import RecordedRequest

PACE_MS = 60
OPEN = "Yes, we are open until six today, and on Saturdays from nine to one."
HOURS = (
    "Gladly. On Mondays we open at nine and close at six, on Tuesdays the same, on Wednesdays we "
    "close at noon, on Thursdays we stay until eight, and on Fridays we are back to six."
)
WEEKEND = "Of course. Only the weekend, then: Saturday from nine to one."
BOOKED = "You are booked for Friday at ten. Is there anything else?"
FAREWELL = "Thank you, and goodbye."
BOOK_TABLE = {
    "name": "book_table",
    "description": "Books a table.",
    "parameters": {
        "type": "object",
        "properties": {"day": {"type": "string"}, "time": {"type": "string"}},
        "required": ["day", "time"],
    },
}


def shop(request: RecordedRequest) -> Script:
    """Answer the last message, a question about today after three seconds."""
    last = request.json["messages"][-1]
    if last["role"] == "tool":
        return answer(BOOKED, at_ms=300, pace_ms=PACE_MS)
    text = str(last["content"])
    if "today" in text:
        return answer(OPEN, at_ms=3000, pace_ms=PACE_MS)
    if "hours" in text:
        return answer(HOURS, at_ms=350, pace_ms=PACE_MS)
    if "Book" in text:
        said = answer("Let me look.", at_ms=300)[:-3]
        booked = call("book_table", {"day": "Friday", "time": "10:00"})
        return [*said, *booked, *calls("", "")[-3:]]
    if "bye" in text:
        arguments = {"reason": "caller is done", "message": FAREWELL}
        return calls("end_call", arguments, at_ms=200)
    return answer(WEEKEND, at_ms=250, pace_ms=PACE_MS)

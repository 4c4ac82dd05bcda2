// What the page knows of the call, all of it from the process, so that a reload shows the same call.
export const shown = {
  of: 0, // The call's number: a new call begins with an empty page.
  call: null,
  turns: new Map(), // By number: the turn as it came, and when it came.
};

// Elements of the page: found by id, made, and lengths of time as people read them.
export const $ = (id) => document.getElementById(id);

export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

export const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;

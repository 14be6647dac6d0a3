"use strict";
// The page works without this script. With it, the page is live: the server sends its changing part once a second, and
// the script changes what differs, so that focus, scroll position and tooltips stay.

const live = document.getElementById("live");
const connection = document.getElementById("connection");
let stream = null;
let heard = Date.now(); // when the server last sent something
let again = 0; // a timer

// ---- the stream: one for a tab, and none while the tab is hidden

function open() {
  close();
  if (document.hidden || !live || !live.dataset.stream) return;
  heard = Date.now();
  stream = new EventSource(live.dataset.stream);
  stream.onmessage = (event) => {
    heard = Date.now();
    const now = JSON.parse(event.data);
    document.title = now.title + " – PassBuddy";
    show(now.html);
    said();
  };
  stream.onerror = () => {
    // The browser tries again by itself, unless the server has refused.
    if (stream && stream.readyState === EventSource.CLOSED) again = setTimeout(open, 5000);
  };
}

function close() {
  clearTimeout(again);
  if (stream) stream.close();
  stream = null;
}

function said() {
  const quiet = Math.round((Date.now() - heard) / 1000);
  const lost = !document.hidden && quiet >= 4;
  const text = lost ? "No connection to this page’s server: last heard " + quiet + " s ago" : "";
  if (connection.textContent !== text) connection.textContent = text;
  document.body.classList.toggle("lost", lost);
}

document.addEventListener("visibilitychange", open); // which closes first
window.addEventListener("pagehide", close);
window.addEventListener("pageshow", (event) => event.persisted && open());
setInterval(said, 1000);

// ---- changing what differs

function show(html) {
  const next = document.createElement("main");
  next.innerHTML = html;
  const focused = document.activeElement;
  become(live, next);
  if (focused && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

const keyOf = (node) => (node.nodeType === 1 ? node.getAttribute("data-key") || node.id || "" : "");

// become gives an element the children of another. Those with the same key, or of the same kind in the same place, stay.
function become(old, next) {
  const keyed = new Map();
  for (const child of old.childNodes) if (keyOf(child)) keyed.set(keyOf(child), child);
  let at = old.firstChild;
  for (const child of Array.from(next.childNodes)) {
    const key = keyOf(child);
    let same = key ? keyed.get(key) : at;
    if (!key) while (same && keyOf(same)) same = same.nextSibling;
    if (!same || same.nodeName !== child.nodeName) {
      old.insertBefore(child, at);
      continue;
    }
    keyed.delete(key);
    if (same === at) at = at.nextSibling;
    else old.insertBefore(same, at);
    if (child.nodeType !== 1) {
      if (same.nodeValue !== child.nodeValue) same.nodeValue = child.nodeValue;
      continue;
    }
    for (const a of Array.from(same.attributes)) if (!child.hasAttribute(a.name)) same.removeAttribute(a.name);
    for (const a of child.attributes) if (same.getAttribute(a.name) !== a.value) same.setAttribute(a.name, a.value);
    become(same, child);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

// ---- search while typing

const search = document.querySelector("form.search");
if (search) {
  const field = search.querySelector("input[type=search]");
  let wait = 0;
  let turn = 0;
  const find = async () => {
    clearTimeout(wait);
    const mine = ++turn;
    const query = new URLSearchParams(new FormData(search));
    if (!query.get("search")) query.delete("search");
    const url = search.action + (query.size ? "?" + query : "");
    try {
      const answer = await fetch(url);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
      if (!page || mine !== turn) return;
      history.replaceState(null, "", url);
      live.dataset.stream = page.dataset.stream;
      become(live, page);
      open();
    } catch {
      said();
    }
  };
  field.addEventListener("input", () => {
    clearTimeout(wait);
    wait = setTimeout(find, 200);
  });
  search.addEventListener("submit", (event) => {
    event.preventDefault();
    find();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.nodeName) && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  });
}

// ---- questions before an action: the form of the confirmation page, in a dialog

const ask = document.getElementById("ask");
document.addEventListener("click", async (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const link = event.target.closest("a[data-ask]");
  if (link && ask) {
    event.preventDefault();
    try {
      const answer = await fetch(link.href);
      const form = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("form.ask");
      if (!form) throw new Error("no form");
      ask.replaceChildren(form);
      ask.showModal();
    } catch {
      location.href = link.href;
    }
  }
  if (event.target.closest("#ask a[data-close]")) {
    event.preventDefault();
    ask.close();
  }
});

open();

// Keeps an open page up to date: the server sends its changing part whenever it has changed.
// Without this script the page is the same, and is brought up to date by loading it again.
"use strict";
(() => {
  const said = document.getElementById("live");
  const main = document.getElementById("main");
  if (!said || !main || !window.EventSource || main.querySelector("form")) return;

  const opened = () => [...main.querySelectorAll("details")].map((one) => one.open);
  const scrolled = () => [...main.querySelectorAll("pre")].map((one) => [one.scrollTop, one.scrollHeight - one.clientHeight - one.scrollTop < 4]);
  const stops = () => [...main.querySelectorAll("a, summary, button, pre")];
  const focused = () => stops().indexOf(document.activeElement);

  function show(html) {
    if (document.getSelection().toString()) return; // somebody is about to copy it
    const was = { open: opened(), scroll: scrolled(), focus: focused() };
    const pictures = [...main.querySelectorAll("a.matrix")];
    main.innerHTML = html; // ours: the server has escaped every value
    [...main.querySelectorAll("a.matrix")].forEach((one, at) => keepUntilDrawn(pictures[at], one));
    [...main.querySelectorAll("details")].forEach((one, at) => { if (at < was.open.length) one.open = was.open[at]; });
    [...main.querySelectorAll("pre")].forEach((one, at) => {
      if (at < was.scroll.length) one.scrollTop = was.scroll[at][1] ? one.scrollHeight : was.scroll[at][0];
    });
    if (was.focus >= 0) stops()[was.focus]?.focus({ preventScroll: true });
  }

  // A picture stays, with where a click in it leads, until the next one can be shown in its place.
  function keepUntilDrawn(old, next) {
    const [was, will] = [old?.querySelector("img"), next.querySelector("img")];
    if (!was?.complete || !was.naturalWidth) return;
    next.replaceWith(old);
    if (was.src === will.src) { was.alt = will.alt; return; }
    will.loading = "eager";
    will.decode().catch(() => {}).then(() => {
      if (!old.isConnected) return;
      const isFocused = old === document.activeElement;
      old.replaceWith(next);
      if (isFocused) next.focus({ preventScroll: true });
    });
  }

  let first = true;
  let source;
  function open() {
    source = new EventSource(location.href);
    source.addEventListener("main", (event) => {
      if (!first) show(event.data);
      first = false;
      said.textContent = "live";
    });
    source.addEventListener("gone", () => { source.close(); location.reload(); });
    source.onerror = () => {
      said.textContent = "the server does not answer";
      first = false;
      if (source.readyState === EventSource.CLOSED) setTimeout(open, 5000);
    };
  }
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { source?.close(); said.textContent = ""; } else { first = false; open(); }
  });
  if (!document.hidden) open();
})();

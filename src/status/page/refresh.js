"use strict";
// What has changed is changed, and nothing else: where one has scrolled to, what is open and what is selected stay.
(() => {
  const EVERY = 5000;
  const PATIENCE = 10000;
  const live = document.getElementById("live");
  const stale = document.getElementById("stale");
  let last = Date.now();

  function morph(old, fresh) {
    if (old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
      old.replaceWith(fresh);
    } else if (old.nodeType === Node.TEXT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
    } else {
      for (const { name, value } of fresh.attributes) {
        if (old.getAttribute(name) !== value) old.setAttribute(name, value);
      }
      for (const { name } of [...old.attributes]) {
        if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
      }
      const [has, gets] = [[...old.childNodes], [...fresh.childNodes]];
      gets.forEach((child, at) => (at < has.length ? morph(has[at], child) : old.append(child)));
      has.slice(gets.length).forEach((child) => child.remove());
    }
  }

  async function refresh() {
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const parts = ["main", "footer", "link[rel=icon]"].map((part) => [document, page].map((of) => of.querySelector(part)));
      parts.forEach(([old, fresh]) => morph(old, fresh));
      document.title = page.title;
      stale.hidden = true;
      last = Date.now();
    } catch {
      const seconds = Math.round((Date.now() - last) / 1000);
      stale.textContent = `The plugin does not answer. What is shown here is ${seconds} s old.`;
      stale.hidden = false;
      document.title = "no answer: loki-rs";
    }
  }

  let timer;
  async function run() {
    clearTimeout(timer);
    if (live.checked && !document.hidden) await refresh();
    clearTimeout(timer);
    timer = setTimeout(run, EVERY);
  }
  document.documentElement.classList.add("js");
  document.addEventListener("visibilitychange", run);
  live.addEventListener("change", run);
  timer = setTimeout(run, EVERY);
})();

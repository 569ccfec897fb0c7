/* Live pages: how old the last record is, whether the stream still stands, one polite sentence for a change; and what is
   put in place anew keeps what the reader opened and where the keyboard stands. */
(function () {
  "use strict";
  var lost = false, kept = null;

  function say(text) {
    var region = document.getElementById("live");
    if (region && region.textContent !== text) { region.textContent = text; }
  }
  function age(seconds) {
    if (seconds < 120) { return Math.floor(seconds) + " s"; }
    if (seconds < 7200) { return Math.floor(seconds / 60) + " min"; }
    if (seconds < 172800) { return Math.floor(seconds / 3600) + " h"; }
    return Math.floor(seconds / 86400) + " days";
  }
  function tick() {
    document.querySelectorAll(".freshness").forEach(function (line) {
      if (!line.dataset.since) { line.dataset.since = String(Date.now() - 1000 * Number(line.dataset.age)); }
      var seconds = (Date.now() - Number(line.dataset.since)) / 1000, stale = seconds > Number(line.dataset.stale);
      line.lastElementChild.textContent = "last record " + age(seconds) + " ago" + (lost ? ", connection lost, trying again" : "");
      var mark = line.firstElementChild;
      if (stale !== mark.classList.contains("warn")) {
        mark.replaceWith(document.getElementById(stale ? "mark-stale" : "mark-live").content.firstElementChild.cloneNode(true));
      }
    });
  }
  function named(element) {
    var figure = element.closest("figure"), caption = figure && figure.querySelector("figcaption");
    return [caption ? caption.textContent : "", element.tagName, element.getAttribute("aria-label") || element.textContent].join("|");
  }
  document.addEventListener("htmx:beforeSwap", function (event) {
    var part = event.detail.target, focus = document.activeElement;
    kept = {
      open: Array.from(part.querySelectorAll("details[open] > summary"), named),
      focus: focus && focus !== part && part.contains(focus) ? named(focus) : null
    };
  });
  document.addEventListener("htmx:afterSwap", function (event) {
    if (!kept) { return; }
    var part = event.detail.target, before = kept, focus;
    kept = null;
    part.querySelectorAll("details > summary").forEach(function (summary) {
      if (before.open.indexOf(named(summary)) >= 0) { summary.parentNode.open = true; }
    });
    if (before.focus === null || part.contains(document.activeElement)) { return; }
    focus = Array.from(part.querySelectorAll("a[href], button, input, select, summary, [tabindex]")).find(function (one) {
      return named(one) === before.focus;
    });
    if (focus) { focus.focus({ preventScroll: true }); }
  });
  document.addEventListener("htmx:sseError", function () { lost = true; tick(); });
  document.addEventListener("htmx:sseOpen", function () { lost = false; tick(); });
  document.addEventListener("htmx:sseClose", function (event) {
    if (event.detail.type === "message") { say("This session ended. Load the page again to log in."); }
  });
  document.addEventListener("htmx:afterSettle", function (event) {
    var config = event.detail.requestConfig;
    if (config && config.triggeringEvent && config.triggeringEvent.type === "sse:changed") {
      say((document.getElementById("connections") ? "The connections" : "The study") + " changed; the page was brought up to date.");
    }
    tick();
  });
  document.addEventListener("DOMContentLoaded", tick);
  window.setInterval(tick, 1000);
}());

/* Live pages: how old the last record is, whether the stream still stands, and one polite sentence for a change. */
(function () {
  "use strict";
  var lost = false;

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
  document.addEventListener("htmx:sseError", function () { lost = true; tick(); });
  document.addEventListener("htmx:sseOpen", function () { lost = false; tick(); });
  document.addEventListener("htmx:sseClose", function (event) {
    if (event.detail.type === "message") { say("This session ended. Load the page again to log in."); }
  });
  document.addEventListener("htmx:afterSettle", function (event) {
    var config = event.detail.requestConfig;
    if (config && config.triggeringEvent && config.triggeringEvent.type === "sse:changed") {
      say("The study changed; the page was brought up to date.");
    }
    tick();
  });
  document.addEventListener("DOMContentLoaded", tick);
  window.setInterval(tick, 1000);
}());

/* Live pages: how old the last record is, and one polite sentence when something changed. */
(function () {
  "use strict";
  function say(text) { document.getElementById("live").textContent = text; }
  document.addEventListener("htmx:sseMessage", function () { say("The page was brought up to date."); });
}());

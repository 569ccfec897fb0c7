/* The reader's choice of theme, kept in this browser alone. Runs before the page is painted. */
(function () {
  "use strict";
  var order = ["auto", "light", "dark"], root = document.documentElement, key = "rounds-theme";
  function stored() {
    try { return localStorage.getItem(key); } catch (error) { return null; }
  }
  function apply(theme) {
    if (theme === "auto") { delete root.dataset.theme; } else { root.dataset.theme = theme; }
    var button = document.getElementById("theme");
    if (button) {
      button.hidden = false;
      button.textContent = "Theme: " + theme;
    }
  }
  var now = order.indexOf(stored()) < 0 ? "auto" : stored();
  apply(now);
  document.addEventListener("DOMContentLoaded", function () {
    apply(now);
    document.getElementById("theme").addEventListener("click", function () {
      now = order[(order.indexOf(now) + 1) % order.length];
      try { localStorage.setItem(key, now); } catch (error) { /* kept for this page alone */ }
      apply(now);
    });
  });
}());

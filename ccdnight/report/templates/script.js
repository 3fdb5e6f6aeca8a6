(function () {
  "use strict";
  // Pictures that were not looked at yet are made ready a few at a time, when all that is in sight is there.
  var waiting = Array.prototype.slice.call(document.querySelectorAll("img[loading=lazy]"));
  function ready(number) {
    waiting.splice(0, number).forEach(function (image) { image.loading = "eager"; });
    if (waiting.length) { setTimeout(ready, 30, 20); }
  }
  window.addEventListener("load", function () { ready(20); });
  window.addEventListener("beforeprint", function () { ready(waiting.length); });

  var box = document.getElementById("filter");
  if (!box) { return; }
  var shown = document.getElementById("shown");
  var none = document.getElementById("none");
  var frames = Array.prototype.slice.call(document.querySelectorAll(".frame"));
  // Name, object, filter, exposure, what is wrong, and the masters: numbers would be found everywhere.
  var texts = frames.map(function (frame) {
    return Array.prototype.map.call(frame.querySelectorAll("h3, .what, .wrong, .with"), function (part) {
      return part.textContent.toLowerCase();
    }).join(" ");
  });
  function apply() {
    var words = box.value.toLowerCase().split(/\s+/).filter(Boolean), number = 0;
    frames.forEach(function (frame, i) {
      var fits = words.every(function (word) { return texts[i].indexOf(word) >= 0; });
      frame.hidden = !fits;
      number += fits ? 1 : 0;
    });
    var all = frames.length;
    shown.textContent = words.length ? number + " of " + all + (all === 1 ? " frame" : " frames") : all + (all === 1 ? " frame" : " frames");
    none.hidden = number > 0;
  }
  box.parentNode.hidden = false;
  box.addEventListener("input", apply);
  box.addEventListener("search", apply);
  // A link to a frame, or the browser going back, leads to it even where the filter hides it.
  window.addEventListener("hashchange", function () {
    var target = document.getElementById(location.hash.slice(1));
    if (target && target.hidden) {
      box.value = "";
      apply();
      target.scrollIntoView();
    }
  });
  apply();
})();

"use strict";
/* The step player: a slider over the drafts of one generation. Without it the page shows the final text. */
for (const card of document.querySelectorAll("[data-frames]")) {
  const frames = JSON.parse(card.querySelector("script").textContent);
  const part = (name) => card.querySelector(`[data-part="${name}"]`);
  const slider = part("slider");
  const show = () => {
    const frame = frames[slider.value];
    part("step").textContent = frame.step;
    part("sigma").textContent = frame.sigma;
    part("alarm").hidden = !frame.alarm;
    part("draft").textContent = frame.text;
    part("cursor").setAttribute("transform", `translate(${frame.x} 0)`);
    part("dot").setAttribute("cy", frame.y ?? 0);
    part("dot").setAttribute("visibility", frame.y === null ? "hidden" : "visible");
    slider.setAttribute("aria-valuetext", `step ${frame.step}, sigma ${frame.sigma}`);
  };
  slider.max = frames.length - 1;
  slider.value = frames.length - 1;
  slider.addEventListener("input", show);
  part("controls").hidden = false;
  show();
}
/* Paper has nothing to click on. */
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
document.documentElement.dataset.player = "ready";

"use strict";
// Everything on the page can be read without this: it zooms timelines, moves between their marks by arrow keys,
// opens the section that a link leads into, and before printing opens what is worth printing.

const WIDEST = 8e6; // pixels; browsers give up somewhere beyond 3e7

function timeline(tools) {
  const readout = tools.nextElementSibling;
  const tracks = [];
  for (let next = readout.nextElementSibling; next && next.parentNode === tools.parentNode; next = next.nextElementSibling)
    tracks.push(...(next.matches(".lanes") ? [next] : next.querySelectorAll(".lanes")).values());
  const scrolls = tracks.map((lanes) => lanes.querySelector(".track"));
  const even = Number(scrolls[0].querySelector("svg").getAttribute("width"));
  const accesses = Number(scrolls[0].dataset.accesses);
  let linear = false;

  function resize(factor, around) {
    for (const scroll of scrolls) {
      const svg = scroll.querySelector("svg");
      const old = svg.getBoundingClientRect().width || even;
      const least = scroll.clientWidth || old;
      // To scale, a single access gets 8 pixels at most; evenly spaced ones never need more than 6 times the width.
      const most = Math.min(WIDEST, Math.max(linear ? accesses * 8 : even * 6, least * 3));
      const width = factor ? Math.min(Math.max(old * factor, least), most) : least;
      const at = around === undefined ? scroll.clientWidth / 2 : around;
      const place = (scroll.scrollLeft + at) / old;
      svg.style.width = width + "px";
      svg.style.minWidth = "0";
      scroll.scrollLeft = place * width - at;
    }
  }

  function rescale(button) {
    linear = !linear;
    button.setAttribute("aria-pressed", String(linear));
    const part = linear ? 1 : 0;
    for (const scroll of scrolls) {
      for (const item of scroll.querySelectorAll("[data-x]")) item.setAttribute("x", item.dataset.x.split(" ")[part] + "%");
      for (const item of scroll.querySelectorAll("[data-w]")) item.setAttribute("width", item.dataset.w.split(" ")[part] + "%");
      scroll.querySelector(".ticks").style.display = linear ? "none" : "";
    }
    resize(0);
  }

  for (const button of tools.querySelectorAll("[data-zoom]"))
    button.addEventListener("click", () => resize({ in: 2, out: 0.5, fit: 0 }[button.dataset.zoom]));
  const scale = tools.querySelector("[data-scale]");
  scale.addEventListener("click", () => rescale(scale));

  for (const scroll of scrolls) {
    scroll.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      resize(event.deltaY < 0 ? 1.25 : 0.8, event.clientX - scroll.getBoundingClientRect().left);
    }, { passive: false });
    const show = (event) => {
      const mark = event.target.closest(".mark");
      if (mark) readout.textContent = mark.querySelector("title").textContent;
    };
    scroll.addEventListener("pointerover", show);
    scroll.addEventListener("focusin", show);
    scroll.addEventListener("keydown", (event) => {
      const mark = event.target.closest(".mark");
      if (!mark) return;
      const lane = mark.parentNode;
      const marks = [...lane.querySelectorAll(".mark")];
      const lanes = [...scroll.querySelectorAll("svg > g[role=group]")].filter((group) => group.querySelector(".mark"));
      const here = marks.indexOf(mark), other = lanes.indexOf(lane);
      const x = (item) => parseFloat(item.querySelector("use").getAttribute("x"));
      const nearest = (group) => group && [...group.querySelectorAll(".mark")].reduce((best, item) =>
        Math.abs(x(item) - x(mark)) < Math.abs(x(best) - x(mark)) ? item : best);
      const goal = { ArrowRight: marks[here + 1], ArrowLeft: marks[here - 1], Home: marks[0], End: marks[marks.length - 1],
        ArrowDown: nearest(lanes[other + 1]), ArrowUp: nearest(lanes[other - 1]) }[event.key];
      if (!goal) return;
      event.preventDefault();
      goal.focus();
      goal.scrollIntoView({ block: "nearest", inline: "center", behavior: "instant" });
    });
  }
  // On a narrow screen the part that matters comes into view: where a loss shows, else the kexec.
  const first = new IntersectionObserver((seen) => {
    for (const { target, isIntersecting } of seen) {
      if (!isIntersecting) continue;
      first.unobserve(target);
      const goal = target.querySelector(".above") || target.querySelector(".band.kexec");
      if (goal && target.scrollWidth > target.clientWidth * 1.3)
        target.scrollLeft += goal.getBoundingClientRect().left - target.getBoundingClientRect().left - target.clientWidth / 3;
    }
  });
  for (const scroll of scrolls) first.observe(scroll);
  readout.textContent = "Point at a sign, or go there with the keyboard, to see its access here.";
  tools.hidden = readout.hidden = false;
}

function reveal() {
  const goal = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!goal) return;
  for (let box = goal.closest("details"); box; box = box.parentNode.closest("details")) box.open = true;
  goal.scrollIntoView();
}

for (const tools of document.querySelectorAll(".tools")) timeline(tools);
window.addEventListener("hashchange", reveal);
reveal();

let opened = [];
window.addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details.po:not([open])")];
  for (const box of opened) box.open = true;
});
window.addEventListener("afterprint", () => {
  for (const box of opened) box.open = false;
});

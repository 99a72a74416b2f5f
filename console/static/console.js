// The script of the console: it draws the plots, tells the server the time zone, and renews what runs now. Without it, all
// views work but the plots. It writes texts as texts, never as HTML.
"use strict";

(() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const shown = (unit, value) =>
    unit === "USD" ? "$" + value.toLocaleString("en", { maximumFractionDigits: value < 1 ? 4 : 2 }) : Math.round(value).toLocaleString("en");

  const axis = (unit, value) => {
    const text = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 2 }).format(value);
    return unit === "USD" ? "$" + text : text;
  };

  // stacked returns the sums of each series and those below it, the highest first: bars are drawn over each other.
  const stacked = (series) => {
    const sums = [];
    let below = null;
    for (const one of series) {
      below = one.values.map((value, i) => value + (below ? below[i] : 0));
      sums.unshift(below);
    }
    return sums;
  };

  const draw = (element) => {
    const plot = JSON.parse(element.dataset.plot);
    const told = element.closest("figure").querySelector(".told");
    const bars = uPlot.paths.bars({ size: [0.7, 60], align: 1 });
    const count = plot.series.length;
    element.replaceChildren();
    const tell = (at) => {
      if (at === null || at === undefined) {
        told.textContent = "";
        return;
      }
      const parts = plot.series.map((one) => [one.name || "not told", one.values[at]]).filter(([, value]) => value > 0);
      const all = parts.reduce((sum, [, value]) => sum + value, 0);
      told.textContent = plot.labels[at] + ": " + shown(plot.unit, all) + (parts.length > 1
        ? " (" + parts.map(([name, value]) => name + " " + shown(plot.unit, value)).join(", ") + ")" : "");
    };
    const grid = { stroke: colour("--line"), width: 1 };
    const drawn = new uPlot({
      width: element.clientWidth, height: 220, legend: { show: false }, cursor: { y: false, drag: { setScale: false }, points: { show: false } },
      scales: { x: { time: false, range: [-0.3, plot.days.length] }, y: { range: (self, low, high) => [0, high > 0 ? high * 1.05 : 1] } },
      axes: [
        {
          stroke: colour("--faint"), grid: { show: false }, ticks: { show: false },
          values: (self, at) => at.map((i) => (Number.isInteger(i) && plot.labels[i] ? plot.labels[i].split(" ").slice(1, 3).join(" ") : "")),
          space: 60, size: 28, incrs: [1, 2, 5, 7, 14, 30, 60, 90],
        },
        { stroke: colour("--faint"), grid, ticks: grid, size: 62, values: (self, at) => at.map((value) => axis(plot.unit, value)) },
      ],
      series: [{}].concat(plot.series.map((one, i) => ({ paths: bars, points: { show: false }, fill: colour("--s" + (count - 1 - i)), width: 0 }))),
      hooks: { setCursor: [(self) => tell(self.cursor.idx)] },
    }, [plot.days.map((day, i) => i)].concat(stacked(plot.series)), element);
    drawn.over.addEventListener("click", () => {
      const at = drawn.cursor.idx;
      if (at !== null && plot.hrefs[at]) {
        location.assign(plot.hrefs[at]);
      }
    });
    return drawn;
  };

  const plots = [...document.querySelectorAll("[data-plot]")];
  const drawAll = () => plots.forEach(draw);
  if (plots.length > 0) {
    drawAll();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    let wait = 0;
    addEventListener("resize", () => {
      clearTimeout(wait);
      wait = setTimeout(drawAll, 100);
    });
  }

  const zone = document.querySelector("[data-zone]");
  if (zone) {
    zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
  }

  // Dates that are chosen count more than a range of the list.
  for (const form of document.querySelectorAll("form.filters")) {
    const range = form.elements.namedItem("range");
    form.addEventListener("change", (event) => {
      if (range && event.target === range && range.value !== "") {
        form.elements.namedItem("from").value = form.elements.namedItem("to").value = "";
      }
    });
    form.addEventListener("submit", () => {
      for (const field of form.elements) {
        if (field.name && field.value === "") {
          field.disabled = true; // Addresses stay short.
          setTimeout(() => { field.disabled = false; });
        }
      }
    });
  }

  // What a link leads to is opened, also where it is in a sub-agent that is closed.
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let at = target && target.parentElement; at; at = at.parentElement) {
      if (at instanceof HTMLDetailsElement) {
        at.open = true;
      }
    }
    if (target) {
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", open);
  open();

  const live = document.getElementById("live");
  if (live) {
    setInterval(async () => {
      if (document.hidden || live.contains(document.activeElement)) {
        return;
      }
      try {
        const answer = await fetch(location.href, { redirect: "error" });
        const renewed = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
        if (renewed) {
          live.replaceChildren(...renewed.childNodes);
        }
      } catch {
        // The gateway is away: what is shown stays, and the next try may work.
      }
    }, Number(live.dataset.every) * 1000);
  }
})();

// The link of a finding highlights its place in the plots and the table, a click on a point that of
// its row, and a button copies a remedy. This script comes last: it needs the whole page.
const plots = document.getElementById("plots");
const table = document.getElementById("calls");

function show(from, to) {
  const low = Math.min(from, to) - 0.5, high = Math.max(from, to) + 0.5;
  const shapes = Object.keys(plots.layout).filter((name) => /^yaxis/.test(name)).map((name) => {
    const number = name.slice(5);
    return { type: "rect", layer: "below", line: { width: 0 }, fillcolor: "#fff7de",
      xref: "x" + number, yref: "y" + number + " domain", x0: low, x1: high, y0: 0, y1: 1 };
  });
  Plotly.relayout(plots, { shapes });
  highlight(to);
}

function highlight(number) {
  const row = document.getElementById("row-" + number);
  if (!row) return;
  table.open = true;
  document.querySelectorAll("tr.highlighted").forEach((old) => old.classList.remove("highlighted"));
  row.classList.add("highlighted");
  // Scroll only the table's frame: the plots stay in view.
  const frame = row.closest(".scroll");
  frame.scrollTop = row.offsetTop - frame.clientHeight / 2;
}

// On a narrow screen the plots stand below each other.
const NARROW = 640, EACH = 310, ABOVE = 60;  // pixels: of the plots' width, of a plot's height
const axes = plots ? Object.keys(plots.layout).filter((name) => /^yaxis/.test(name)) : [];
const wide = { height: plots?.layout.height, "margin.l": plots?.layout.margin.l };
const stacked = { height: EACH * axes.length + ABOVE, "margin.l": 58 };
axes.forEach((name, at) => {
  const x = name.replace("y", "x"), size = 1 / axes.length, top = 1 - at * size;
  wide[x + ".domain"] = plots.layout[x].domain;
  wide[name + ".domain"] = plots.layout[name].domain;
  stacked[x + ".domain"] = [0, 1];
  stacked[name + ".domain"] = [top - 0.72 * size, top - (at ? 0.08 * size : 0)];
});
let arranged = wide;

function arrange() {
  const wanted = plots.clientWidth < NARROW ? stacked : wide;
  if (wanted === arranged) return;
  arranged = wanted;
  plots.parentElement.style.height = wanted.height + "px";
  Plotly.relayout(plots, wanted);
}

if (plots) {
  arrange();
  addEventListener("resize", arrange);
}

document.querySelectorAll("a[data-to]").forEach((link) => link.addEventListener("click", () => {
  show(Number(link.dataset.from), Number(link.dataset.to));
}));
plots?.on("plotly_click", (event) => {
  const number = event.points[0].customdata;
  if (number !== undefined) show(number, number);
});
document.querySelectorAll("button[data-copy]").forEach((button) => button.addEventListener("click", async () => {
  const text = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // some browsers forbid it for local files
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "copied";
}));

// A line chart over the last minutes, in plain SVG: a current figure, and what it was under the pointer.

import { el, put, svg } from "./dom.js";
import { UNKNOWN, span } from "./format.js";

const HEIGHT = 120;

// Room for the word at the upper edge.
const TOP = 18;

// Seconds that a chart spans: it begins narrow, so that its first points are seen.
const [LEAST, MOST] = [60, 300];

// `lines` are the names of the values, `tones` what they are drawn like; `format` makes words of a value. `top` is the value
// at the upper edge, where it is fixed.
export function chart({ title, lines, tones = [0, 1, 2], format, top = null }) {
  const figures = lines.map(() => el("span", { class: "figure" }, UNKNOWN));
  const picture = svg("svg", { role: "img", height: HEIGHT, width: "100%" });
  const scale = el("span", { class: "scale" });
  const [since, cursor] = [el("span"), el("span", null, "now")];
  const name = (line) => lines.length > 1 && el("span", { class: "name" }, line);
  const now = lines.map((line, index) => el("span", { class: `line-${tones[index]}` }, name(line), figures[index]));
  const element = el(
    "figure",
    { class: "card chart" },
    el("figcaption", null, el("h2", null, title), el("p", { class: "now" }, now)),
    el("div", { class: "plot" }, picture, scale),
    el("p", { class: "axis" }, since, cursor),
  );
  let points = [];
  let under = null;
  const tell = () => {
    const point = under ?? points.at(-1);
    figures.forEach((figure, index) => (figure.textContent = format(point?.values[index] ?? null)));
    cursor.textContent = under ? `${span(points.at(-1).at - under.at)} ago` : "now";
  };
  const draw = (all) => {
    points = all;
    under = under && points.includes(under) ? under : null;
    const width = picture.clientWidth || 320;
    const last = points.at(-1)?.at ?? 0;
    const window = Math.min(MOST, Math.max(LEAST, last - (points[0]?.at ?? last)));
    const highest = top ?? ceiling(Math.max(0, ...points.flatMap(({ values }) => values.filter(Number.isFinite))));
    const x = (at) => width - ((last - at) / window) * width;
    const y = (value) => HEIGHT - 1 - (value / highest) * (HEIGHT - TOP);
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    picture.setAttribute(
      "aria-label",
      `${title}: ${lines.map((line, index) => `${line} ${format(points.at(-1)?.values[index] ?? null)}`).join(", ")}`,
    );
    put(
      picture,
      [0, 0.5, 1].map((share) =>
        svg("line", { class: "rule", x1: 0, x2: width, y1: y(share * highest), y2: y(share * highest) }),
      ),
      lines.length === 1 && svg("path", { class: "area", d: area(points, x, y) }),
      lines
        .map((_, index) => svg("path", { class: `line line-${tones[index]}`, d: path(points, index, x, y) }))
        .reverse(),
      under && svg("line", { class: "cursor", x1: x(under.at), x2: x(under.at), y1: 0, y2: HEIGHT }),
    );
    // A round number: its zeros say nothing.
    scale.textContent = format(highest).replace(/\.0+(?!\d)/, "");
    since.textContent = `${span(window)} ago`;
    tell();
  };
  picture.addEventListener("pointermove", ({ offsetX }) => {
    if (!points.length) return;
    const last = points.at(-1).at;
    const at = last - (1 - offsetX / picture.clientWidth) * Math.min(MOST, Math.max(LEAST, last - points[0].at));
    under = points.reduce((best, point) => (Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best));
    draw(points);
  });
  picture.addEventListener("pointerleave", () => {
    under = null;
    draw(points);
  });
  return { element, draw };
}

// Runs of points with a value; nothing is drawn through what is not known.
function runs(points, index) {
  const found = [[]];
  for (const point of points) {
    if (Number.isFinite(point.values[index])) found.at(-1).push(point);
    else if (found.at(-1).length) found.push([]);
  }
  return found.filter((run) => run.length);
}

function path(points, index, x, y) {
  const at = (point) => `${x(point.at).toFixed(1)} ${y(point.values[index]).toFixed(1)}`;
  // A point alone is a dot: a line of no length with round ends.
  return runs(points, index)
    .map((run) => `M${at(run[0])}L${run.map(at).join("L")}`)
    .join("");
}

function area(points, x, y) {
  return runs(points, 0)
    .map(
      (run) =>
        `M${x(run[0].at).toFixed(1)} ${y(0)}L${run.map((point) => `${x(point.at).toFixed(1)} ${y(point.values[0]).toFixed(1)}`).join("L")}L${x(run.at(-1).at).toFixed(1)} ${y(0)}Z`,
    )
    .join("");
}

// The next round number: 1, 2 or 5 with zeros.
function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

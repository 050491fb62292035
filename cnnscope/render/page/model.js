// What is embedded, decoded; which layer and unit are selected.
const DATA = JSON.parse(document.getElementById("data").textContent);
const LAYERS = DATA.layers;
const SERIES = DATA.series.map(([period, first, ...runs]) => {
  const values = [first];
  for (let i = 0; i < runs.length; i += 2)
    for (let n = 0; n < runs[i + 1]; n++) values.push(values[values.length - 1] + runs[i]);
  return values;
});

// For each layer its box in the overview and its place there: PLACES[layer] = {box, part, place};
// the place is -1 where the box counts the layer without showing it.
const PLACES = [];
DATA.boxes.forEach((box, i) => {
  box.size = box.layers.length / box.count;
  box.layers.forEach((layer, k) => (PLACES[layer] ??= { box: i, part: Math.floor(k / box.size), place: k % box.size }));
});
DATA.boxes.forEach((box, i) => box.more.forEach((layer) => (PLACES[layer] ??= { box: i, part: 0, place: -1 })));

const byId = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes = {}, ...children) {
  const made = name[0] === "<" ? document.createElementNS(SVG, name.slice(1)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// First and last pixel per image axis of the unit at a position; null where it reads nothing.
function boxAt(bounds, at, extents) {
  if (!bounds) return null;
  const through = at.reduce((place, index, axis) => place * extents[axis] + index, 0);
  const box = bounds.map(([axis, first, last]) => {
    const i = axis === null ? through : at[axis] ?? 0;
    return [SERIES[first][i % SERIES[first].length], SERIES[last][i % SERIES[last].length]];
  });
  return box.some(([first, last]) => first > last) ? null : box;
}

// How far beyond the image the fields of a layer reach, per image axis.
function reach(bounds, extents) {
  if (!bounds) return extents.map(() => 0);
  return bounds.map(([, first, last], axis) => {
    const low = SERIES[first].reduce((a, b) => Math.min(a, b), 0);
    const high = SERIES[last].reduce((a, b) => Math.max(a, b), 0);
    return Math.max(-low, high + 1 - extents[axis], 0);
  });
}

const state = { layer: -1, at: [] };
const watchers = [];

function select(layer, at) {
  const field = DATA.fields[layer];
  const changed = layer !== state.layer;
  const extents = field ? field.at : [];
  const fits = at && at.length === extents.length && at.every((i, axis) => i >= 0 && i < extents[axis]);
  state.layer = layer;
  state.at = fits ? at : middle(field);
  for (const watch of watchers) watch(changed);
}

function middle(field) {
  if (!field) return [];
  const [rows, columns, first] = field.grid ?? [];
  if (rows) return [first + Math.floor(rows / 2) * columns + Math.floor(columns / 2)];
  return field.at.map((n) => Math.floor(n / 2));
}

const count = (n) => (n === undefined ? "?" : n.toLocaleString("en-US"));

function bytes(n) {
  if (n === undefined) return "-";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) (n /= 1024), i++;
  return i ? `${n.toLocaleString("en-US", { maximumFractionDigits: 2, minimumFractionDigits: 2 })} ${units[i]}` : `${n} B`;
}

const sum = (key) => LAYERS.reduce((whole, layer) => whole + (layer[key] ?? 0), 0);
const TOTALS = { params: sum("params"), macs: sum("macs") };
const share = (layer, key) => (layer[key] && TOTALS[key] ? layer[key] / TOTALS[key] : 0);
const percent = (part) => `${(100 * part).toFixed(1)} %`;

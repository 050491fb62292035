// Boxes open in place: the picture is cut below a box, what is below moves down, and the inside stands between.
const SHAPES = [...picture.querySelectorAll("rect,circle,text,path,polygon")].map((node) => {
  const name = { rect: "y", circle: "cy", text: "y", path: "d", polygon: "points" }[node.localName];
  return { node, name, value: node.getAttribute(name), height: Number(node.getAttribute("height")) };
});
const SOLID = [...picture.querySelectorAll(".n [data-layer],.n [data-port]")].map((node) => node.getBBox());
const NATURAL = { width: FRAME.width, height: FRAME.height };
const GAP = 14; // from the cut to the frame of the inside, and from there on
const opened = new Map(); // by number of the box: where the picture is cut, and what stands there

const boxNode = (number) => picture.querySelector(`[data-n="${number}"]`);

// Below the box and all that stands beside it.
function cutBelow({ y, height }) {
  let cut = y + height + 6;
  for (let higher; (higher = SOLID.find((box) => box.y < cut - 6 && box.y + box.height + 6 > cut)); ) cut = higher.y + higher.height + 6;
  return cut;
}

function arrange() {
  const cuts = [...opened.values()].sort((a, b) => a.cut - b.cut);
  const move = (y) => y + cuts.reduce((sum, { cut, room }) => sum + (cut < y ? room : 0), 0);
  for (const { node, name, value, height } of SHAPES) {
    if (name === "d" || name === "points")
      node.setAttribute(name, value.replace(/(-?[\d.]+),(-?[\d.]+)/g, (_, x, y) => `${x},${move(Number(y))}`));
    else node.setAttribute(name, move(Number(value)));
    if (height) node.setAttribute("height", move(Number(value) + height) - move(Number(value)));
  }
  let above = 0, width = NATURAL.width;
  for (const { cut, room, group, box, size } of cuts) {
    const middle = box.x + box.width / 2, y = cut + above + GAP;
    const x = Math.max(FRAME.x + 4, Math.min(middle - size.width / 2, FRAME.x + NATURAL.width - size.width - 8));
    width = Math.max(width, x + size.width + 8 - FRAME.x);
    group.querySelector(".content").setAttribute("transform", `translate(${x - size.x} ${y - size.y})`);
    group.querySelector(".frame").setAttribute("d", `M${x},${y}H${middle - 5}L${middle},${y - GAP + 4}L${middle + 5},${y}H${x + size.width}V${y + size.height}H${x}Z`);
    above += room;
  }
  FRAME.width = width;
  FRAME.height = NATURAL.height + above;
  byId("open-all").textContent = opened.size ? "collapse all" : "expand all";
  marked(current());
  if (!opened.size) return fit();
  whole = false; // what opens keeps its size
  zoom(scale);
}

function open(number) {
  const { inner } = DATA.boxes[number];
  if (inner === null || opened.has(number)) return;
  const box = boxNode(number).querySelector("[data-layer]").getBBox();
  const original = SHAPES.find(({ node }) => node === boxNode(number).querySelector("[data-layer]"));
  const natural = { x: box.x, width: box.width, y: Number(original.value), height: original.height };
  const source = document.querySelector(`[data-inside="${inner}"] svg`), size = source.viewBox.baseVal;
  const content = element("<g", { class: "content" }, ...[...source.cloneNode(true).childNodes]);
  const group = element("<g", { class: "open", "data-of": number }, element("<path", { class: "frame" }), content);
  pressable(group.querySelectorAll("[data-i]"), (node) => {
    const { layers, size: one } = DATA.boxes[number], place = PLACES[state.layer];
    const part = place?.box === number ? place.part : 0;
    const inside = DATA.insides[inner][node.dataset.i];
    select(layers[part * one + inside[inside.length - 1]]);
  });
  picture.insertBefore(group, picture.querySelector(".fold"));
  opened.set(number, { cut: cutBelow(natural), room: size.height + 2 * GAP, group, box: natural, size });
}

function close(number) {
  opened.get(number)?.group.remove();
  opened.delete(number);
}

function toggle(number) {
  opened.has(number) ? close(number) : open(number);
  handles();
  arrange();
  opened.get(number)?.group.scrollIntoView({ block: "nearest", inline: "nearest", behavior: still.matches ? "auto" : "smooth" });
}

// The sign at the upper right corner of a box that can be opened.
const HANDLES = new Map();
DATA.boxes.forEach(({ inner, label }, number) => {
  if (inner === null || !boxNode(number)) return;
  const { x, y, width } = boxNode(number).querySelector("[data-layer]").getBBox();
  const sign = [element("<circle", { cx: x + width, cy: y, r: 4.5 }), element("<path", {})];
  const handle = element("<g", { class: "fold", role: "button", tabindex: 0, "aria-label": `open ${label}` }, ...sign);
  picture.append(handle);
  SHAPES.push({ node: sign[0], name: "cy", value: y, height: 0 });
  HANDLES.set(number, { handle, sign: sign[1], x: x + width, y });
  const entry = { node: sign[1], name: "d", value: "", height: 0 };
  SHAPES.push(entry);
  HANDLES.get(number).entry = entry;
  pressable([handle], () => toggle(number));
});

function handles() {
  for (const [number, { handle, x, y, entry }] of HANDLES) {
    handle.setAttribute("aria-expanded", opened.has(number));
    entry.value = `M${x - 2.5},${y} L${x + 2.5},${y}` + (opened.has(number) ? "" : ` M${x},${y - 2.5} L${x},${y + 2.5}`);
    entry.node.setAttribute("d", entry.value);
  }
  drawBox();
}

byId("open-all").addEventListener("click", () => {
  if (opened.size) for (const number of [...opened.keys()]) close(number);
  else for (const number of HANDLES.keys()) open(number);
  handles();
  arrange();
});
byId("open").addEventListener("click", () => toggle(PLACES[state.layer].box));
handles();

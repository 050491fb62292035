// The heart: a unit of the selected layer's map, and what it sees of the input.
const map = byId("map"), image = byId("image");
const LINES = 72; // cells across up to which they are drawn one by one

// How the positions of a layer are laid out: rows and columns, and which axes are chosen beside.
function layout(field) {
  const at = field.at;
  if (at.length === 1 && field.grid) return { rows: field.grid[0], columns: field.grid[1], first: field.grid[2], beside: [] };
  if (at.length <= 1) return { rows: 1, columns: at[0] ?? 1, beside: [] };
  return { rows: at[at.length - 2], columns: at[at.length - 1], beside: at.slice(0, -2) };
}

function cell(field, shape) {
  if (field.at.length === 0) return [0, 0];
  if (shape.first !== undefined) {
    const place = state.at[0] - shape.first;
    return place < 0 ? null : [Math.floor(place / shape.columns), place % shape.columns];
  }
  return field.at.length === 1 ? [0, state.at[0]] : state.at.slice(-2);
}

function position(field, shape, row, column) {
  if (field.at.length === 0) return [];
  if (shape.first !== undefined) return [shape.first + row * shape.columns + column];
  return field.at.length === 1 ? [column] : [...state.at.slice(0, -2), row, column];
}

const rectangle = (name, x, y, width, height) => element("<rect", { class: name, x, y, width, height });

function lines(rows, columns) {
  if (Math.max(rows, columns) > LINES) return "";
  let path = "";
  for (let y = 1; y < rows; y++) path += `M0 ${y}h${columns}`;
  for (let x = 1; x < columns; x++) path += `M${x} 0v${rows}`;
  return element("<path", { class: "lines", d: path });
}

function drawMap(field) {
  const shape = layout(field), { rows, columns } = shape;
  const here = cell(field, shape);
  map.setAttribute("viewBox", `0 0 ${columns} ${rows}`);
  map.setAttribute("preserveAspectRatio", isStrip(field) ? "none" : "xMidYMin meet");
  const parts = [rectangle("cells", 0, 0, columns, rows), lines(rows, columns)];
  if (here) {
    const [row, column] = here;
    if (Math.max(rows, columns) > 40)
      parts.push(element("<path", { class: "cross", d: `M${column + 0.5} 0V${rows}M0 ${row + 0.5}H${columns}` }));
    parts.push(rectangle("here", column, row, 1, 1));
  }
  map.replaceChildren(...parts);
  byId("map-title").textContent = mapTitle(field, shape);
}

function mapTitle(field, shape) {
  if (field.at.length === 0) return "one position: every channel sees the same";
  if (shape.first !== undefined) return `${field.at[0]} units, laid out as they lie on the image`;
  return `feature map ${field.at.join("x")}`;
}

const isStrip = (field) => INPUT(field).extents.length === 1;
const INPUT = (field) => {
  const rank = (field.exact ?? field.full).length;
  return DATA.inputs.find((input) => input.extents.length === rank);
};

const photo = DATA.image && element("<image", { href: DATA.image, preserveAspectRatio: "none" });

function drawImage(field) {
  const input = INPUT(field), rank = input.extents.length, flat = rank === 1;
  const plane = (box) => (flat ? [[0, 0], box[0]] : box.slice(-2));
  const [height, width] = flat ? [1, input.extents[0]] : input.extents.slice(-2);
  const beyond = reach(field.theory, input.extents);
  const [my, mx] = flat ? [0, beyond[0]] : beyond.slice(-2);
  const longest = Math.max(width, height);
  const side = Math.max(Math.min(Math.max(mx, my), 0.12 * longest) * 1.05, 0.015 * longest);
  const [top, left] = [flat ? 0 : side, side];
  image.setAttribute("viewBox", `${-left} ${-top} ${width + 2 * left} ${height + 2 * top}`);
  image.setAttribute("preserveAspectRatio", flat ? "none" : "xMidYMin meet");
  const shown = photo && !flat;
  image.classList.toggle("photo", Boolean(shown));
  image.classList.toggle("pixels", Math.max(width, height) <= 96);
  const parts = [rectangle("cells", 0, 0, width, height)];
  if (shown) {
    for (const [key, value] of Object.entries({ width, height })) photo.setAttribute(key, value);
    parts.push(photo);
  } else parts.push(lines(height, width));
  const boxes = { exact: boxAt(field.exact, state.at, field.at), theory: boxAt(field.theory, state.at, field.at) };
  boxes.full = boxAt(field.full, state.at, field.at);
  const lit = boxes.exact ?? boxes.full;
  if (shown && lit) {
    const [[y, bottom], [x, right]] = plane(lit);
    const hole = `M${x} ${y}V${bottom + 1}H${right + 1}V${y}Z`;
    parts.push(element("<path", { class: "outside", "fill-rule": "evenodd", d: `M0 0H${width}V${height}H0Z${hole}` }));
  }
  for (const name of ["full", "theory", "exact"]) {
    if (!boxes[name]) continue;
    const [[y, bottom], [x, right]] = plane(boxes[name]);
    parts.push(rectangle(`${name}-box`, x, y, right - x + 1, bottom - y + 1));
  }
  image.replaceChildren(...parts);
  byId("key").querySelector(".theory").textContent = `theoretical, ${
    boxes.theory && isBeyond(plane(boxes.theory), [[-top, height + top], [-left, width + left]]) ? "beyond this view" : "padding counted"}`;
  const title = input.names.join(" and ");
  byId("image-title").textContent = `${title} ${input.extents.join("x")}${beside(input, boxes.exact ?? boxes.full)}`;
  for (const name of ["exact", "theory", "full"]) byId("key").querySelector(`.${name}`).hidden = !boxes[name];
  readout(field, input, boxes);
}

// Whether no side of a box is within a view.
function isBeyond(box, view) {
  return box.every(([first, last], axis) => first < view[axis][0] && last + 1 > view[axis][1]);
}

// For an image with frames, which of them the drawn box describes.
function beside(input, box) {
  if (input.extents.length < 3 || !box) return "";
  return box.slice(0, -2).map(([first, last], axis) => ` – ${input.axes[axis]} ${first} to ${last} of 0 to ${input.extents[axis] - 1}`).join("");
}

const span = (box, axes) => box.map(([first, last], i) => `${axes[i]} ${first}…${last}`).join(", ");
const sides = (box) => box.map(([first, last]) => last - first + 1).join("x");

function readout(field, input, boxes) {
  const unit = state.at.length ? `Unit ${state.at.join(", ")}` : "Every unit";
  const via = LAYERS[state.layer].rf_via;
  const parts = [];
  const same = String(boxes.exact) === String(boxes.theory);
  const dots = input.extents.length === 1 ? "samples" : "pixels";
  if (boxes.exact) parts.push(`${unit} sees ${span(boxes.exact, input.axes)}: ${sides(boxes.exact)} ${dots}${same ? ", no padding" : ""}.`);
  if (boxes.theory && !same) parts.push(`With padding ${span(boxes.theory, input.axes)}: ${sides(boxes.theory)}.`);
  if (boxes.full) {
    const all = sides(boxes.full) === input.extents.join("x") ? "the whole input" : `${span(boxes.full, input.axes)}`;
    parts.push(`${boxes.exact ? "Through" : `${unit} sees ${all}, through`} ${via || "global paths"}${boxes.exact ? ` it depends on ${all}` : ""}.`);
  }
  if (!parts.length) parts.push(`${unit} reads no pixel of the input.`);
  byId("readout").textContent = parts.join(" ");
}

function absent(layer) {
  if (!DATA.inputs.length) return "The input has no height and width, so there is no receptive field to draw.";
  if (layer.unknown) return "The receptive field of this layer is unknown: it depends on a layer that no rule covers.";
  if (layer.rf === undefined || layer.rf === "-") return "This layer reads nothing of the image.";
  return "The boxes of this layer follow no pattern and are too many to embed: `cnnscope rf --unit` has them.";
}

function drawAxes(field) {
  const { beside } = layout(field);
  byId("axes").replaceChildren(...beside.map((extent, axis) => {
    const input = element("input", { type: "range", min: 0, max: extent - 1, value: state.at[axis] });
    input.addEventListener("input", () => {
      const at = [...state.at];
      at[axis] = Number(input.value);
      select(state.layer, at);
    });
    const name = field.at.length === INPUT(field).axes.length ? INPUT(field).axes[axis] : `axis ${axis}`;
    return element("label", {}, `${name} `, input);
  }));
  const { first } = layout(field);
  if (first) byId("axes").append(element("p", { class: "key" }, `not shown: ${first === 1 ? "unit 0, which lies" : `units 0 to ${first - 1}, which lie`} nowhere on the image (← from the first cell)`));
}

function drawUnit(changed) {
  const field = DATA.fields[state.layer];
  const shown = Boolean(field && (field.exact ?? field.full) && INPUT(field));
  byId("unit").hidden = !shown;
  byId("unit").classList.toggle("strip", shown && isStrip(field));
  if (!shown) {
    byId("readout").textContent = absent(LAYERS[state.layer]);
    return;
  }
  drawMap(field);
  drawImage(field);
  if (changed) drawAxes(field);
}
watchers.push(drawUnit);

function pick(event) {
  const field = DATA.fields[state.layer], shape = layout(field);
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
  const row = Math.floor(point.y), column = Math.floor(point.x);
  if (row >= 0 && column >= 0 && row < shape.rows && column < shape.columns)
    select(state.layer, position(field, shape, row, column));
}
map.addEventListener("pointerdown", (event) => event.button === 0 && pick(event));
map.addEventListener("pointermove", (event) => event.pointerType === "mouse" && event.buttons === 1 && pick(event));

map.addEventListener("keydown", (event) => {
  const field = DATA.fields[state.layer], { columns, first } = layout(field);
  const step = event.shiftKey ? 10 : 1, last = field.at.length - 1;
  const moves = { ArrowLeft: [last, -step], ArrowRight: [last, step], ArrowUp: [last - 1, -step], ArrowDown: [last - 1, step],
    PageUp: [last - 2, -step], PageDown: [last - 2, step], Home: [last, -Infinity], End: [last, Infinity] };
  if (!(event.key in moves)) return;
  event.preventDefault();
  let [axis, by] = moves[event.key];
  if (axis === -1 && first !== undefined) (axis = 0), (by *= columns);
  if (axis < 0) return;
  const at = [...state.at];
  at[axis] = Math.min(field.at[axis] - 1, Math.max(0, at[axis] + by));
  select(state.layer, at);
});

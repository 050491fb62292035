// Details of the selected layer and of the box that it is in.
function facts(layer) {
  const args = Object.entries(layer.args ?? {}).map(([key, value]) => `${key} ${value}`).join(", ");
  const known = (key) => (layer[key] === undefined ? "?" : count(layer[key]));
  const part = (key) => (share(layer, key) ? ` (${percent(share(layer, key))})` : "");
  return [
    ["reads", (layer.reads ?? []).join(", ")], ["input", layer.input_shapes], ["output", layer.output_shape],
    ["arguments", args], ["parameters", known("params") + part("params")], ["MACs", known("macs") + part("macs")],
    ["FLOPs", known("flops")], ["weights", bytes(layer.param_bytes)], ["activations", bytes(layer.activation_bytes)],
    ["alive meanwhile", bytes(layer.live_bytes)], ["receptive field", layer.rf], ["stride", layer.rf_stride],
    ["padding", layer.rf_padding], ["centre of the first", layer.rf_centre], ["global via", layer.rf_via],
  ].filter(([, text]) => text !== undefined && text !== "" && text !== "-");
}

function drawFacts() {
  const layer = LAYERS[state.layer];
  byId("layer").textContent = layer.name;
  byId("type").textContent = layer.op;
  const rows = facts(layer).flatMap(([word, text]) => [element("dt", {}, word), element("dd", {}, text)]);
  if (layer.spec) {
    const [place, line] = layer.spec;
    rows.push(element("dt", {}, place), element("dd", {}, element("code", {}, line)));
  }
  byId("facts").replaceChildren(...rows);
  byId("previous").disabled = state.layer === 0;
  byId("next").disabled = state.layer === LAYERS.length - 1;
}

// The layers that share the box, one part of equal ones at a time.
function drawBox() {
  const place = PLACES[state.layer];
  byId("box").hidden = !place;
  if (!place) return;
  byId("box").classList.toggle("single", DATA.boxes[place.box].size + DATA.boxes[place.box].more.length < 2);
  const box = DATA.boxes[place.box];
  byId("parts").hidden = box.count < 2;
  const options = Array.from({ length: box.count }, (_, i) => element("option", { value: i }, `${i + 1} of ${box.count}`));
  byId("part").replaceChildren(...options);
  byId("part").value = place.part;
  byId("box-title").textContent = box.title;
  byId("open").hidden = box.inner === null;
  byId("open").textContent = opened.has(place.box) ? "collapse in the picture" : "expand in the picture";
  byId("open").setAttribute("aria-expanded", opened.has(place.box));
  const layers = [...box.layers.slice(place.part * box.size, (place.part + 1) * box.size), ...box.more].sort((a, b) => a - b);
  byId("members").replaceChildren(...layers.map((i) => {
    const button = element("button", { type: "button", class: `kind-${LAYERS[i].category}`, dir: "auto" }, LAYERS[i].name);
    if (i === state.layer) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => select(i));
    return button;
  }));
}

byId("part").addEventListener("change", (event) => {
  const { box, place } = PLACES[state.layer];
  select(DATA.boxes[box].layers[Number(event.target.value) * DATA.boxes[box].size + Math.max(place, 0)]);
});
byId("previous").addEventListener("click", () => select(state.layer - 1));
byId("next").addEventListener("click", () => select(state.layer + 1));

// On a narrow screen the details are a sheet at the lower edge: at first its first line, until something is pressed.
let untouched = true;
function sheet(open) {
  byId("detail").classList.toggle("folded", !open);
  byId("sheet").textContent = open ? "less" : "more";
  byId("sheet").setAttribute("aria-expanded", open);
}
byId("sheet").addEventListener("click", () => {
  untouched = false;
  sheet(byId("detail").classList.contains("folded"));
});
const shown = () => untouched && sheet(true);
sheet(false);

// How the layer's weights are distributed; the line is at zero.
function drawWeights() {
  const found = DATA.weights.layers[state.layer] ?? [];
  byId("weights").replaceChildren(...found.map(({ name, text, path, zero }) => {
    const svg = element("<svg", { viewBox: "0 0 32 24", preserveAspectRatio: "none", role: "img", "aria-label": `histogram of ${name}: ${text}` });
    svg.append(element("<path", { class: "bars", d: path }));
    if (zero !== null) svg.append(element("<path", { class: "zero", d: `M${zero} 0V24` }));
    return element("figure", {}, element("figcaption", {}, element("b", { dir: "auto" }, name), ` ${text}`), svg);
  }));
}

watchers.push((changed) => {
  if (!changed) return;
  drawWeights();
  drawFacts();
  drawBox();
});

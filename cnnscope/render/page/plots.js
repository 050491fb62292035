// Cost and receptive field along the network; pressing a plot selects the layer there.
const PAD = { left: 46, right: 12, top: 14, bottom: 24 };
const HEIGHT = 190;

function chart(id, draw) {
  const host = byId(id);
  const redraw = () => {
    const width = host.clientWidth;
    if (!width) return;
    const inner = width - PAD.left - PAD.right;
    const step = inner / LAYERS.length;
    const x = (i) => PAD.left + (i + 0.5) * step;
    const svg = element("<svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img" });
    svg.append(text(PAD.left, HEIGHT - 8, "first layer"), text(width - PAD.right, HEIGHT - 8, "last", "end"));
    draw(svg, x, step, width);
    svg.append(element("<path", { class: "cursor" }));
    svg.addEventListener("click", (event) => {
      const place = event.clientX - svg.getBoundingClientRect().left - PAD.left;
      select(Math.min(LAYERS.length - 1, Math.max(0, Math.floor(place / step))));
      shown();
    });
    host.replaceChildren(svg);
    host.cursor = () => svg.lastChild.setAttribute("d", `M${x(state.layer)} ${PAD.top}V${HEIGHT - PAD.bottom}`);
    if (state.layer >= 0) host.cursor();
  };
  new ResizeObserver(redraw).observe(host);
  watchers.push(() => host.cursor?.());
}

function text(x, y, words, anchor = "start") {
  return element("<text", { x, y, "text-anchor": anchor }, words);
}

// Round numbers from 0 up to the largest, about as many as wanted.
function ticks(largest, wanted = 4) {
  const raw = largest / wanted, unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((n) => n * unit >= raw) * unit;
  return Array.from({ length: Math.floor(largest / step) + 1 }, (_, i) => i * step);
}

function scaled(svg, width, largest, label) {
  const y = (value) => HEIGHT - PAD.bottom - (value / largest) * (HEIGHT - PAD.top - PAD.bottom);
  for (const tick of ticks(largest)) {
    if (tick) svg.append(element("<path", { class: "soft", d: `M${PAD.left} ${y(tick)}H${width - PAD.right}` }));
    svg.append(text(PAD.left - 6, y(tick) + 4, label(tick), "end"));
  }
  return y;
}

chart("cost", (svg, x, step, width) => {
  const largest = (key) => Math.max(0.001, ...LAYERS.map((layer) => share(layer, key)));
  const high = HEIGHT - PAD.top - PAD.bottom, unit = high / (largest("macs") + largest("params"));
  const zero = PAD.top + largest("macs") * unit;
  for (const [key, way] of [["macs", -1], ["params", 1]]) {
    for (const tick of ticks(largest(key), 2).slice(1)) {
      const y = zero + way * tick * unit;
      svg.append(element("<path", { class: "soft", d: `M${PAD.left} ${y}H${width - PAD.right}` }));
      svg.append(text(PAD.left - 6, y + 4, `${+(100 * tick).toFixed(2)} %`, "end"));
    }
    const wide = Math.max(0.6, Math.min(step * 0.8, 26));
    LAYERS.forEach((layer, i) => {
      const height = share(layer, key) * unit;
      if (height) svg.append(element("<rect", { class: key, x: x(i) - wide / 2, y: way < 0 ? zero - height : zero, width: wide, height }));
    });
  }
  svg.append(element("<path", { class: "axis", d: `M${PAD.left} ${zero}H${width - PAD.right}` }), text(PAD.left - 6, zero + 4, "0", "end"));
  svg.append(element("<rect", { class: "macs", x: width - 196, y: 2, width: 10, height: 10 }), text(width - 182, 11, "MACs ↑"));
  svg.append(element("<rect", { class: "params", x: width - 112, y: 2, width: 10, height: 10 }), text(width - 98, 11, "parameters ↓"));
  svg.setAttribute("aria-label", "share of MACs and parameters by layer; the table has the numbers");
});

chart("growth", (svg, x, step, width) => {
  const sizes = LAYERS.map((layer) => layer.size);
  const extent = DATA.inputs.length ? Math.max(...DATA.inputs[DATA.inputs.length - 1].extents) : 0;
  const largest = Math.max(1, extent, ...sizes.filter((size) => size !== undefined)) * 1.04;
  const y = scaled(svg, width, largest, (tick) => count(Math.round(tick)));
  let line = "", band = [], drawing = false;
  sizes.forEach((size, i) => {
    if (size === undefined) return void (drawing = false);
    line += `${drawing ? "L" : "M"}${x(i)} ${y(size)}`;
    drawing = true;
    if (LAYERS[i].shortest !== undefined) band.push([x(i), y(size), y(LAYERS[i].shortest)]);
  });
  if (band.length > 1) {
    const there = band.map(([at, top]) => `${at} ${top}`), back = band.map(([at, , low]) => `${at} ${low}`).reverse();
    svg.append(element("<polygon", { class: "band", points: [...there, ...back].join(" ") }));
  }
  svg.append(element("<path", { class: "growth", d: line || "M0 0" }));
  svg.append(element("<path", { class: "axis", d: `M${PAD.left} ${y(0)}H${width - PAD.right}` }));
  if (extent) {
    LAYERS.forEach((layer, i) => layer.rf === "image" && svg.append(element("<circle", { class: "whole", cx: x(i), cy: y(extent), r: 2.5 })));
    svg.append(element("<path", { class: "size", d: `M${PAD.left} ${y(extent)}H${width - PAD.right}` }));
    svg.append(text(PAD.left + 6, y(extent) - 5, `input: ${count(extent)}`));
  }
  svg.setAttribute("aria-label", "receptive field size by layer; the table has the numbers");
});

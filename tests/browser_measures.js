// What a reader would stumble over in a page, measured where it is drawn. The value of this script is {complaints, figures, sections, hidden}.
// A label is clipped if it reaches out of its drawing; two labels overlap if their turned boxes do; a figure is empty if nothing but axes is drawn in it.
(() => {
  const SHRINK = 0.18, EDGE = 1.0, TOUCH = 0.75, FAINT = 0.2, CONTRAST = 3.0;
  const complaints = [], figures = [];
  const shown = element => element.getClientRects().length > 0 && getComputedStyle(element).visibility !== "hidden";
  const short = element => element.textContent.trim().replace(/\s+/g, " ").slice(0, 60);
  const nameOf = svg => {
    const section = svg.closest("section")?.id ?? "";
    const label = (svg.getAttribute("aria-label") ?? "").slice(0, 40);
    return `figure ${[section, svg.id, label && `“${label}…”`].filter(Boolean).join(" ") || "without a name"}`;
  };
  const opacityOf = (element, root) => {
    let product = 1;
    for (let each = element; each && each !== root.parentNode; each = each.parentNode) product *= Number(getComputedStyle(each).opacity);
    return product;
  };
  // The four corners in an element's own turned box, in pixels of the window; text without what its font leaves above and below the letters.
  const corners = (element, up, aside) => {
    const box = element.getBBox(), matrix = element.getScreenCTM();
    const [top, bottom] = [box.y + up * box.height, box.y + (1 - up) * box.height], [left, right] = [box.x + aside, box.x + box.width - aside];
    return [[left, top], [right, top], [right, bottom], [left, bottom]].map(([x, y]) => {
      const point = new DOMPoint(x, y).matrixTransform(matrix);
      return [point.x, point.y];
    });
  };
  // How deep two turned boxes are in each other: the least way along any of their sides' normals that would part them.
  const depth = (one, other) => {
    let least = Infinity;
    for (const shape of [one, other]) {
      for (const [a, b] of [[0, 1], [1, 2]]) {
        const [x, y] = [shape[b][1] - shape[a][1], shape[a][0] - shape[b][0]], length = Math.hypot(x, y);
        if (length === 0) return 0;
        const along = shape => shape.map(([u, v]) => (u * x + v * y) / length);
        const [p, q] = [along(one), along(other)];
        least = Math.min(least, Math.min(Math.max(...p), Math.max(...q)) - Math.max(Math.min(...p), Math.min(...q)));
      }
    }
    return least;
  };
  const rgb = text => { const found = text.match(/[\d.]+/g)?.map(Number); return found && { c: found.slice(0, 3), a: found[3] ?? 1 }; };
  const over = (front, back) => front.c.map((value, at) => front.a * value + (1 - front.a) * back[at]);
  const light = colour => {
    const [r, g, b] = colour.map(value => { const part = value / 255; return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => { const [a, b] = [light(one), light(other)]; return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); };
  const paper = element => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) layers.push(rgb(getComputedStyle(each).backgroundColor));
    return layers.reverse().filter(Boolean).reduce((back, layer) => over(layer, back), matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255]);
  };
  // The filled rectangles under a label, bottom to top, laid over the page's colour.
  const behind = (text, shapes, x, y, page) => shapes
    .filter(shape => shape.node.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING && shape.box.left <= x && x <= shape.box.right && shape.box.top <= y && y <= shape.box.bottom)
    .reduce((back, shape) => over(shape.fill, back), page);

  const filled = element => {
    const style = getComputedStyle(element);
    if (style.fill === "none") return null;
    const colour = rgb(style.fill);
    return colour && { c: colour.c, a: colour.a * Number(style.fillOpacity) };
  };
  const isMark = (element, svg) => {
    if (element.closest("defs, clipPath, symbol, marker, mask")) return false;
    const owners = [];
    for (let each = element.parentNode; each && each !== svg; each = each.parentNode) owners.push(each.id ?? "");
    if (owners.some(id => /matplotlib\.axis_|legend_|(^|-)text_\d+$/.test(id))) return false;
    const style = getComputedStyle(element), box = element.getBBox();
    if (!(box.width > 0.5 || box.height > 0.5)) return false;
    const isFilled = style.fill !== "none" && !(filled(element)?.a === 0);
    if (owners.some(id => /(^|-)patch_\d+$/.test(id)) && !(isFilled && element.closest("[id*='axes_']"))) return false;
    const isDashed = style.strokeDasharray !== "none";  // a line at zero or at a threshold says nothing by itself
    return isFilled ? true : style.stroke !== "none" && !isDashed;
  };

  let hidden = 0;
  for (const svg of document.querySelectorAll("svg")) {
    if (svg.parentElement.closest("svg")) continue;
    if (!shown(svg)) { hidden += 1; continue; }
    const name = nameOf(svg), view = svg.viewBox.baseVal, matrix = svg.getScreenCTM();
    const frame = view && view.width ? [new DOMPoint(view.x, view.y), new DOMPoint(view.x + view.width, view.y + view.height)].map(point => point.matrixTransform(matrix))
      : [svg.getBoundingClientRect()].flatMap(box => [{ x: box.left, y: box.top }, { x: box.right, y: box.bottom }]);
    const unit = Math.hypot(matrix.a, matrix.b);  // pixels a unit of the drawing: tolerances are of the drawing, whatever its size
    const page = paper(svg);
    const marks = [...svg.querySelectorAll("path, rect, circle, ellipse, polyline, polygon, use, image, line")].filter(element => isMark(element, svg));
    const shapes = marks.filter(element => element.tagName === "rect" || (element.tagName === "path" && (element.getAttribute("d") ?? "").length < 160)).map(node => ({ node, box: node.getBoundingClientRect(), fill: filled(node) }))
      .filter(shape => shape.fill && shape.fill.a > 0).map(shape => ({ ...shape, fill: { c: shape.fill.c, a: shape.fill.a * opacityOf(shape.node, svg) } }));
    const texts = [...svg.querySelectorAll("text")].filter(text => shown(text) && text.textContent.trim());
    const labels = texts.map(text => ({ text, quad: corners(text, SHRINK, 0), faint: opacityOf(text, svg) * (filled(text)?.a ?? 0) < FAINT }));
    figures.push({ name, texts: texts.length, marks: marks.length, width: svg.getBoundingClientRect().width });
    if (marks.length === 0) complaints.push(`${name} is empty: nothing but axes is drawn`);
    if (!svg.getAttribute("aria-label") && !svg.querySelector("title") && svg.getAttribute("aria-hidden") !== "true") complaints.push(`${name} has no description for those who can't see it`);
    for (const { text, quad, faint } of labels) {
      const out = Math.max(...quad.map(([x, y]) => Math.max(frame[0].x - x, x - frame[1].x, frame[0].y - y, y - frame[1].y))) / unit;
      if (out > EDGE) complaints.push(`${name}: the label “${short(text)}” is clipped by ${out.toFixed(1)} of ${view.width.toFixed(0)} units`);
      if (faint) continue;
      const middle = quad.reduce(([u, v], [x, y]) => [u + x / 4, v + y / 4], [0, 0]), ink = filled(text);
      const ground = behind(text, shapes, ...middle, page), ratio = contrast(over({ c: ink.c, a: ink.a * opacityOf(text, svg) }, ground), ground);
      if (ratio < CONTRAST) complaints.push(`${name}: the label “${short(text)}” is hard to read, contrast ${ratio.toFixed(1)}`);
    }
    for (let one = 0; one < labels.length; one += 1) {
      for (let other = one + 1; other < labels.length; other += 1) {
        if (labels[one].faint || labels[other].faint) continue;
        const shared = depth(labels[one].quad, labels[other].quad) / unit;
        if (shared > TOUCH) complaints.push(`${name}: the labels “${short(labels[one].text)}” and “${short(labels[other].text)}” overlap by ${shared.toFixed(1)} units`);
      }
    }
  }

  // Wider than the page, and not within a box that scrolls; cut off by a box that does not.
  const room = document.documentElement.clientWidth;
  const scrolls = element => { for (let each = element.parentElement; each && each !== document.body; each = each.parentElement) if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(each).overflowX)) return true; return false; };
  if (document.documentElement.scrollWidth > room + 1) complaints.push(`the page is ${document.documentElement.scrollWidth} px wide in a window of ${room}`);
  for (const element of document.body.querySelectorAll("*")) {
    if (element.ownerSVGElement || !shown(element)) continue;
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    if (box.right > room + 1 && !scrolls(element) && style.position !== "fixed") complaints.push(`<${element.tagName.toLowerCase()}> “${short(element)}” reaches ${(box.right - room).toFixed(0)} px beyond the page`);
    if (["hidden", "clip"].includes(style.overflowX) && element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 2 && element.textContent.trim()) complaints.push(`<${element.tagName.toLowerCase()}> “${short(element)}” is cut off`);
    if (element.tagName === "IMG" && element.naturalWidth === 0) complaints.push(`the image ${element.getAttribute("src")} is not there`);
  }

  for (const link of document.querySelectorAll("a[href^='#']")) {
    const target = decodeURIComponent(link.getAttribute("href").slice(1));
    if (target && !document.getElementById(target)) complaints.push(`the link “${short(link)}” leads to #${target}, which is not there`);
  }
  const ids = [...document.querySelectorAll("[id]")].map(element => element.id), twice = ids.filter((id, at) => ids.indexOf(id) < at);
  for (const id of new Set(twice)) complaints.push(`the id ${id} stands there ${twice.filter(each => each === id).length + 1} times`);
  for (const section of document.querySelectorAll("section")) {
    const heading = section.querySelector("h2, h3");
    if (shown(section) && section.textContent.trim() === (heading?.textContent.trim() ?? "")) complaints.push(`the section ${section.id} has nothing but its heading`);
  }
  return { complaints, figures, hidden, sections: [...document.querySelectorAll("section[id]")].map(section => section.id), background: getComputedStyle(document.body).backgroundColor };
})()

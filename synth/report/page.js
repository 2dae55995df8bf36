"use strict";
// The page's only script. Everything that came from a model enters the document as a text node.
(async () => {
  const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}\p{Cs}]/u;
  const HIDDEN_ALL = new RegExp(HIDDEN.source, "gu");
  const LONG = 20000; // characters of one text that are laid out before "show all" is pressed
  const OVERSCAN = 6;
  const BINS = 28;
  const PAGE = /^(?:\w[\w.-]*\/)*\w[\w.-]*\.html$/; // a page below this one's folder: no scheme, no root, no step up
  const COLLATOR = new Intl.Collator("en", { numeric: true });
  const NUMBER = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 4 });
  const EXACT = new Intl.NumberFormat("en-US", { maximumFractionDigits: 12 });
  const WHOLE = new Intl.NumberFormat("en-US");
  const $ = (id) => document.getElementById(id);

  // ---- text ----

  function fill(element, text) {
    text = String(text);
    if (!HIDDEN.test(text)) {
      element.append(text);
      return element;
    }
    let end = 0;
    for (const match of text.matchAll(HIDDEN_ALL)) {
      if (match.index > end) element.append(text.slice(end, match.index));
      element.append(make("span", "ctl", "U+" + match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, "0")));
      end = match.index + match[0].length;
    }
    element.append(text.slice(end));
    return element;
  }

  function make(tag, cls, ...inner) {
    const element = document.createElement(tag);
    if (cls) element.className = cls;
    for (const part of inner) {
      if (part instanceof Node) element.append(part);
      else if (part !== null && part !== undefined && part !== "") fill(element, part);
    }
    return element;
  }

  function button(label, cls, action, title) {
    const element = make("button", cls, label);
    element.type = "button";
    if (title) {
      element.title = title;
      element.setAttribute("aria-label", title);
    }
    element.addEventListener("click", action);
    return element;
  }

  function numeral(value, unit) {
    if (Number.isNaN(value)) return "–";
    const text = Number.isInteger(value) || Math.abs(value) >= 1000 ? WHOLE.format(Math.round(value)) : NUMBER.format(value);
    return text.replace("-", "\u2212") + (unit ? " " + unit : "");
  }

  function show(value, unit) {
    if (value === null || value === undefined || value === "") return "–";
    if (typeof value === "number") return EXACT.format(value).replace("-", "\u2212") + (unit ? " " + unit : "");
    if (Array.isArray(value)) return value.map((item) => (item && typeof item === "object" ? JSON.stringify(item) : String(item))).join(", ");
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  }

  // ---- rows ----

  async function inflate(node) {
    const raw = atob(node.textContent);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  }

  const strings = (value, out) => {
    if (typeof value === "string") out.push(value);
    else if (typeof value === "number" || typeof value === "boolean") out.push(String(value));
    else if (Array.isArray(value)) for (const item of value) strings(item, out);
    else if (value) for (const key in value) strings(value[key], out);
    return out;
  };
  const isMessages = (value) => Array.isArray(value) && value.length > 0
    && value.every((m) => m && typeof m === "object" && "role" in m && "content" in m);
  const isRecords = (value) => Array.isArray(value) && value.length > 0
    && value.every((m) => m && typeof m === "object" && !Array.isArray(m));
  const idOf = (i) => (rows[i].id === undefined || rows[i].id === null ? String(i) : String(rows[i].id));
  const hashOf = (i) => "#" + (HIDDEN.test(idOf(i)) ? "@" + i : encodeURIComponent(idOf(i)));

  function previewOf(row) {
    let text = meta.preview ? row[meta.preview] : undefined;
    for (const value of [row.messages, row.prompt]) {
      if (text !== undefined && text !== null && text !== "") break;
      if (isMessages(value)) text = (value.find((m) => m.role === "user") || value[0]).content;
      else if (typeof value === "string") text = value;
    }
    if (text === undefined || text === null || text === "") {
      text = row.instruction || Object.entries(row).find(([k, v]) => k !== "id" && typeof v === "string" && v && k !== "reject_reason")?.[1] || "";
    }
    return String(show(text)).slice(0, 400).replace(/\s+/g, " ").trim();
  }

  const rows = [];
  let meta;
  const trouble = (text) => {
    $("trouble").textContent = text;
    $("trouble").hidden = false;
  };
  try {
    meta = await inflate($("meta"));
    if (!meta.rows) {
      $("rows").classList.add("empty");
      $("to-rows").hidden = true;
      return;
    }
    $("trouble").hidden = false;
    for (const node of document.querySelectorAll("script.chunk")) {
      for (const row of await inflate(node)) rows.push(row);
      node.remove();
      $("trouble").textContent = `Reading rows: ${WHOLE.format(rows.length)} of ${WHOLE.format(meta.rows)}`;
    }
    $("trouble").hidden = true;
  } catch (error) {
    trouble(typeof DecompressionStream === "undefined"
      ? "This browser cannot unpack the rows: it wants Chrome 80, Firefox 113, Safari 16.4 or newer."
      : `The rows could not be read (${error.message}); is the file complete?`);
    return;
  }
  const N = rows.length;
  const byId = new Map();
  const hay = new Array(N);
  const previews = new Array(N);
  const rejected = new Uint8Array(N);
  for (let i = 0; i < N; i++) {
    if (!byId.has(idOf(i))) byId.set(idOf(i), i);
    hay[i] = strings(rows[i], []).join("\n").toLowerCase();
    previews[i] = previewOf(rows[i]);
    rejected[i] = rows[i].reject_reason ? 1 : 0;
  }

  // ---- fields: what can be shown, filtered and sorted ----

  const title = (name) => name.charAt(0).toUpperCase() + name.slice(1).replace(/_/g, " ");
  const fields = meta.columns.map((c) => ({ ...c, label: title(c.label || c.name) }));
  const anyRejected = rejected.includes(1);
  if (anyRejected && !fields.some((f) => f.name === "reject_reason")) {
    fields.unshift({ name: "reject_reason", label: "Reject reason", kind: "category", description: "why a row was dropped", unit: "", order: [], shown: false });
  }
  if (anyRejected && rejected.includes(0)) {
    fields.unshift({ name: "status", label: "Status", kind: "category", description: "accepted rows are the dataset", unit: "", order: ["accepted", "rejected"], shown: false,
      read: (i) => (rejected[i] ? "rejected" : "accepted") });
  }
  fields.forEach((field, place) => {
    field.place = place;
    const read = field.read || ((i) => rows[i][field.name]);
    if (field.kind === "number") {
      field.data = Float64Array.from({ length: N }, (_, i) => {
        const value = read(i);
        return value === null || value === undefined || value === "" ? NaN : Number(value);
      });
      let low = Infinity, high = -Infinity;
      for (const v of field.data) if (Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); }
      const whole = field.data.every((v) => Number.isNaN(v) || Number.isInteger(v)), top = Math.max(Math.abs(low), Math.abs(high));
      const decimals = whole || !Number.isFinite(top) ? 0 : Math.max(0, Math.min(3, 3 - Math.floor(Math.log10(top || 1))));
      const format = new Intl.NumberFormat("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
      field.format = (v) => format.format(v).replace("-", "\u2212");
      Object.assign(field, { low, high, range: null, facet: high > low });
      field.bin = Int16Array.from(field.data, (v) => (Number.isFinite(v) ? Math.min(BINS - 1, Math.floor(((v - low) / (high - low || 1)) * BINS)) : -1));
    } else if (field.kind === "category") {
      const seen = new Map();
      field.data = Int32Array.from({ length: N }, (_, i) => {
        const value = read(i);
        const text = value === null || value === undefined ? "" : show(value) === "–" ? "" : show(value);
        if (!seen.has(text)) seen.set(text, seen.size);
        return seen.get(text);
      });
      field.values = [...seen.keys()];
      const totals = new Int32Array(field.values.length);
      for (const code of field.data) totals[code]++;
      const rank = (v) => { const r = field.order.indexOf(v); return r < 0 ? (v === "" ? 1e9 : 1e6) : r; };
      field.sorted = field.values.map((_, code) => code).sort((a, b) => rank(field.values[a]) - rank(field.values[b])
        || (field.order.length ? 0 : totals[b] - totals[a]) || COLLATOR.compare(field.values[a], field.values[b]));
      if (field.name === "reject_reason") field.sorted = field.sorted.filter((code) => field.values[code] !== "");
      field.rank = new Int32Array(field.values.length);
      field.sorted.forEach((code, r) => { field.rank[code] = r; });
      Object.assign(field, { picked: new Set(), facet: field.values.length > 1 && field.values.length < Math.max(3, N) });
    } else {
      field.facet = false;
    }
  });
  const named = new Map(fields.map((f) => [f.name, f]));
  const facets = fields.filter((f) => f.facet);
  const columns = fields.filter((f) => f.shown);

  // ---- search, filter, sort ----

  const state = { query: "", sort: "", cursor: -1, open: -1 };
  let view = [];
  let textPass = new Uint8Array(N).fill(1);
  let searched = "";
  let terms = [];

  function parse(query) {
    const out = [];
    for (const m of query.toLowerCase().matchAll(/(-?)(?:"([^"]+)"?|([^\s"]+))/g)) {
      const text = m[2] || m[3];
      if (text && text !== "-") out.push({ text, not: m[1] === "-" });
    }
    return out;
  }

  function search() {
    if (state.query === searched) return;
    const narrower = searched && state.query.startsWith(searched) && !/["-]/.test(state.query); // typing on: fewer rows to read
    searched = state.query;
    terms = parse(searched);
    for (let i = 0; i < N; i++) {
      if (narrower && !textPass[i]) continue;
      let pass = 1;
      for (const term of terms) if (hay[i].includes(term.text) === term.not) { pass = 0; break; }
      textPass[i] = pass;
    }
  }

  const active = (f) => (f.kind === "number" ? f.range !== null : f.kind === "category" && f.picked.size > 0);
  const passes = (f, i) => (f.kind === "number" ? f.data[i] >= f.range[0] && f.data[i] <= f.range[1] : f.picked.has(f.data[i]));

  function update() {
    const start = performance.now();
    search();
    const fails = new Uint8Array(N), culprit = new Int16Array(N);
    for (const f of fields.filter(active)) {
      for (let i = 0; i < N; i++) if (!passes(f, i)) { fails[i]++; culprit[i] = f.place; }
    }
    view = [];
    for (let i = 0; i < N; i++) if (textPass[i] && !fails[i]) view.push(i);
    for (const f of facets) {
      f.counts = new Int32Array(f.kind === "number" ? BINS : f.values.length);
      const codes = f.kind === "number" ? f.bin : f.data;
      for (let i = 0; i < N; i++) {
        if (textPass[i] && codes[i] >= 0 && (!fails[i] || (fails[i] === 1 && culprit[i] === f.place))) f.counts[codes[i]]++;
      }
    }
    order();
    state.cursor = state.open >= 0 ? view.indexOf(state.open) : -1;
    drawHead();
    $("matches").textContent = view.length === N ? `${WHOLE.format(N)} rows` : `${WHOLE.format(view.length)} of ${WHOLE.format(N)} rows`;
    $("none").hidden = view.length > 0;
    scroller.setAttribute("aria-rowcount", view.length + 1);
    if (scroller.scrollTop) scroller.scrollTop = 0;
    drawRows(true);
    drawFacets();
    drawActive();
    performance.measure("pica:update", { start, end: performance.now() });
  }

  function order() {
    if (!state.sort) return;
    const down = state.sort.startsWith("-"), sign = down ? -1 : 1;
    const f = named.get(down ? state.sort.slice(1) : state.sort);
    if (!f) return;
    if (f.kind === "number") {
      view.sort((a, b) => { const x = f.data[a], y = f.data[b]; return Number.isNaN(x) || Number.isNaN(y) ? Number.isNaN(x) - Number.isNaN(y) || a - b : sign * (x - y) || a - b; });
    } else if (f.kind === "category") view.sort((a, b) => sign * (f.rank[f.data[a]] - f.rank[f.data[b]]) || a - b);
    else {
      const keys = new Map(view.map((i) => [i, show(rows[i][f.name])]));
      view.sort((a, b) => sign * COLLATOR.compare(keys.get(a), keys.get(b)) || a - b);
    }
  }

  // ---- the list: only rows in sight are in the document ----

  const scroller = $("scroller"), body = $("body"), detail = $("detail"), panes = $("panes");
  const phone = matchMedia("(max-width: 760px)");
  const rowHeight = () => (phone.matches ? 55 : 33);
  const PREVIEW = 300, GAP = 12, EDGE = 28;
  for (const f of columns) {
    const longest = f.kind === "number" ? Math.max(6, ...[f.low, f.high].map((v) => f.format(v).length)) : (f.values || rows.map((row) => show(row[f.name]))).reduce((most, v) => Math.max(most, v.length), 3);
    f.width = Math.round(Math.min(f.kind === "category" ? 138 : 180, Math.max((f.kind === "number" ? 8 : 7.4) * longest, 7 * f.label.length + 14, 48)));
  }
  let drawn = new Map();
  let fitting = columns; // beside an open row only the columns that fit are shown

  function drawHead() {
    const head = $("head");
    const cell = (f, label) => {
      const direction = f && state.sort === f.name ? "ascending" : f && state.sort === "-" + f.name ? "descending" : "none";
      const mark = { ascending: " \u2191", descending: " \u2193", none: "" }[direction];
      const element = make("div", f ? f.kind : "preview");
      element.setAttribute("role", "columnheader");
      if (f) element.setAttribute("aria-sort", direction);
      if (f) element.append(button(label + mark, "sort", () => sortBy(f.name), [`Sort by ${label}`, f.description].filter(Boolean).join(": ")));
      else fill(element, label);
      return element;
    };
    let room = detail.hidden ? Infinity : scroller.clientWidth - PREVIEW - EDGE; // asking for a width lays the page out
    fitting = columns.filter((f) => (room -= f.width + GAP) >= 0);
    head.replaceChildren(cell(null, "Row"), ...fitting.map((f) => cell(f, f.label)));
    head.setAttribute("aria-rowindex", 1);
    const floor = detail.hidden ? PREVIEW : 120;
    scroller.style.setProperty("--cols", [`minmax(${floor}px, 1fr)`, ...fitting.map((f) => f.width + "px")].join(" "));
    scroller.style.setProperty("--least", floor + EDGE + fitting.reduce((sum, f) => sum + f.width + GAP, 0) + "px");
  }

  function sortBy(name) {
    const first = named.get(name).kind === "number" ? "-" + name : name;
    const second = named.get(name).kind === "number" ? name : "-" + name;
    state.sort = state.sort === first ? second : state.sort === second ? "" : first;
    changed();
  }

  function drawRow(position) {
    const i = view[position], row = rows[i];
    const element = make("div", "row" + (rejected[i] ? " is-rejected" : ""));
    element.id = "row-" + i;
    element.setAttribute("role", "row");
    element.setAttribute("aria-rowindex", position + 2);
    element.dataset.position = position;
    const preview = make("div", "preview", make("span", "text", previews[i] || "(empty)"), rejected[i] ? make("span", "pill bad", row.reject_reason) : null);
    preview.setAttribute("role", "rowheader");
    preview.firstChild.dir = "auto";
    element.append(preview);
    for (const f of fitting) {
      const cell = make("div", f.kind);
      cell.setAttribute("role", "gridcell");
      const value = row[f.name];
      const link = linked(f, value);
      if (link) cell.append(Object.assign(link, { tabIndex: -1 }));
      else if (f.kind === "number") fill(cell, Number.isFinite(f.data[i]) ? f.format(f.data[i]) : show(value));
      else fill(cell, show(value).slice(0, 200).replace(/\s+/g, " "));
      if (show(value) === "–") cell.classList.add("blank");
      cell.dataset.label = f.label;
      element.append(cell);
    }
    return element;
  }

  function drawRows(all) {
    const height = rowHeight();
    if (all) { drawn = new Map(); body.replaceChildren(); body.style.height = view.length * height + "px"; }
    const first = Math.max(0, Math.floor(scroller.scrollTop / height) - OVERSCAN);
    const last = Math.min(view.length, Math.ceil((scroller.scrollTop + scroller.clientHeight) / height) + OVERSCAN);
    for (const [position, element] of drawn) if (position < first || position >= last) { element.remove(); drawn.delete(position); }
    for (let position = first; position < last; position++) {
      if (drawn.has(position)) continue;
      const element = drawRow(position);
      element.style.transform = `translateY(${position * height}px)`;
      drawn.set(position, element);
      body.append(element);
    }
    for (const [position, element] of drawn) {
      const on = position === state.cursor;
      element.classList.toggle("on", on);
      element.setAttribute("aria-selected", on);
    }
    if (drawn.has(state.cursor)) scroller.setAttribute("aria-activedescendant", "row-" + view[state.cursor]);
    else scroller.removeAttribute("aria-activedescendant");
    mark();
  }

  function reveal(position) {
    const height = rowHeight(), top = position * height, room = scroller.clientHeight - $("head").offsetHeight;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top + height > scroller.scrollTop + room) scroller.scrollTop = top + height - room;
  }

  function move(to) {
    if (!view.length) return;
    state.cursor = Math.max(0, Math.min(view.length - 1, to));
    reveal(state.cursor);
    if (!detail.hidden) openRow(view[state.cursor]);
    else drawRows(false);
  }

  // ---- filters ----

  function drawFacets() {
    for (const f of facets) {
      if (!f.box) buildFacet(f);
      if (f.kind === "number") {
        const top = f.counts.reduce((a, b) => Math.max(a, b), 1);
        f.bars.forEach((bar, b) => {
          bar.style.height = (f.counts[b] ? Math.max(6, (100 * f.counts[b]) / top) : 0) + "%";
          const a = f.low + (b * (f.high - f.low)) / BINS, z = f.low + ((b + 1) * (f.high - f.low)) / BINS;
          bar.classList.toggle("out", f.range !== null && (z < f.range[0] || a > f.range[1]));
        });
        const shown = (v) => (v === undefined || Math.abs(v) === Infinity ? "" : String(v));
        if (document.activeElement !== f.from) f.from.value = shown(f.range?.[0]);
        if (document.activeElement !== f.to) f.to.value = shown(f.range?.[1]);
      } else drawOptions(f);
    }
  }

  function buildFacet(f) {
    f.box = make("fieldset", "facet " + f.kind);
    const legend = make("legend", "", f.label);
    if (f.description) legend.title = f.description;
    f.box.append(legend);
    if (f.kind === "number") {
      f.bars = Array.from({ length: BINS }, () => make("i", ""));
      const spark = make("div", "spark", ...f.bars);
      spark.setAttribute("aria-hidden", "true");
      const input = (label, hint) => {
        const element = make("input", "");
        Object.assign(element, { type: "number", step: "any", placeholder: numeral(hint) });
        element.setAttribute("aria-label", `${f.label}, ${label}`);
        element.addEventListener("input", () => {
          const from = f.from.value === "" ? -Infinity : Number(f.from.value), to = f.to.value === "" ? Infinity : Number(f.to.value);
          f.range = from === -Infinity && to === Infinity ? null : [from, to];
          changed();
        });
        return element;
      };
      f.from = input("at least", f.low);
      f.to = input("at most", f.high);
      f.box.append(spark, make("div", "range", f.from, make("span", "", "to"), f.to));
    } else {
      f.limit = 8;
      f.options = new Map();
      f.list = make("div", "options");
      f.box.append(f.list);
    }
    $("facets").append(f.box);
  }

  function drawOptions(f) {
    const order = f.order.length || f.sorted.length <= f.limit ? f.sorted : [...f.sorted].sort((a, b) => f.picked.has(b) - f.picked.has(a) || f.counts[b] - f.counts[a]);
    const shown = order.slice(0, f.limit), top = Math.max(1, ...shown.map((code) => f.counts[code]));
    for (const code of shown) {
      const { label, box, bar, n } = f.options.get(code) || option(f, code);
      const text = WHOLE.format(f.counts[code]);
      if (n.textContent !== text) n.textContent = text;
      box.checked = f.picked.has(code);
      bar.style.width = Math.round((100 * f.counts[code]) / top) + "%";
      label.className = f.counts[code] ? "" : "zero";
    }
    const key = shown.join();
    if (key === f.key) return;
    f.key = key;
    const focus = document.activeElement;
    f.list.replaceChildren(...shown.map((code) => f.options.get(code).label));
    if (f.sorted.length > f.limit) f.list.append(button(`${WHOLE.format(f.sorted.length - f.limit)} more`, "more", () => { f.limit += 40; drawOptions(f); }));
    if (f.list.contains(focus)) focus.focus({ preventScroll: true });
  }

  function option(f, code) {
    const box = make("input", ""), bar = make("i", ""), n = make("span", "n"), value = make("span", "value", f.values[code] || "(none)");
    box.type = "checkbox";
    box.addEventListener("change", () => { if (box.checked) f.picked.add(code); else f.picked.delete(code); changed(); });
    value.title = f.values[code];
    const made = { label: make("label", "", bar, box, value, n), box, bar, n };
    f.options.set(code, made);
    return made;
  }

  function drawActive() {
    const chips = [];
    for (const f of fields.filter(active)) {
      if (f.kind === "number") {
        const [a, b] = f.range;
        const text = a === -Infinity ? `${f.label} ≤ ${numeral(b)}` : b === Infinity ? `${f.label} ≥ ${numeral(a)}` : `${f.label} ${numeral(a)} – ${numeral(b)}`;
        chips.push(button(text + " ×", "chip", () => { f.range = null; changed(); }, `Remove filter: ${text}`));
      } else {
        for (const code of f.picked) {
          const text = `${f.label}: ${f.values[code] || "(none)"}`;
          chips.push(button(text + " ×", "chip", () => { f.picked.delete(code); changed(); }, `Remove filter: ${text}`));
        }
      }
    }
    if (chips.length) chips.push(button("Clear", "quiet", clear, "Clear all filters"));
    $("active").replaceChildren(...chips);
    const some = fields.filter(active).length;
    $("filters-toggle").textContent = some ? `Filters (${some})` : "Filters";
  }

  function clear() {
    state.query = "";
    $("search").value = "";
    for (const f of fields) { f.range = null; f.picked?.clear(); }
    changed();
  }

  // ---- the detail of a row ----

  function prose(text) {
    text = String(text);
    const box = make("div", "prose");
    box.dir = "auto";
    const put = (part) => part.split(/(^```[^\n]*\n[\s\S]*?(?:^```[^\n]*$|$(?![\s\S])))/m).forEach((piece, k, all) => {
      if (k % 2) box.append(make("pre", "", piece.replace(/\n$/, "")));
      else if (piece) box.append(make("span", "", piece.replace(k ? /^\n/ : "", "").replace(k + 1 < all.length ? /\n$/ : "", "")));
    });
    put(text.slice(0, LONG));
    if (text.length > LONG) {
      const more = button(`Show all ${WHOLE.format(text.length)} characters`, "more", () => { box.replaceChildren(); put(text); mark(); });
      box.append("… ", more);
    }
    if (!text) box.append(make("span", "blank", "(empty)"));
    return box;
  }

  function chat(messages) {
    return make("div", "chat", ...messages.map((m) => {
      const role = String(m.role), cls = ["system", "user", "assistant"].includes(role) ? role : "other";
      const content = typeof m.content === "string" ? m.content : show(m.content);
      const extra = Object.entries(m).filter(([k, v]) => k !== "role" && k !== "content" && v !== null && v !== "");
      return make("article", "message " + cls,
        make("header", "", make("b", "", role), make("span", "dim", `${WHOLE.format([...content].length)} chars`)),
        prose(content), extra.length ? grid(extra) : null);
    }));
  }

  const conversation = (value, role) => (isMessages(value) ? chat(value) : role ? chat([{ role, content: show(value) }]) : prose(show(value)));

  function part(heading, ...inner) {
    return make("section", "part", heading ? make("h4", "", heading) : null, ...inner);
  }

  // One answer needs no heading that says who wrote it; a longer exchange does.
  const answer = (value) => (!isMessages(value) ? prose(show(value)) : value.length === 1 && value[0].role === "assistant" ? prose(value[0].content) : chat(value));

  function sides(pane, row) {
    const scores = pane.sides.map((s) => (typeof row[s.score] === "number" ? row[s.score] : NaN));
    const cards = pane.sides.map((s, k) => make("div", "side " + s.tone,
      make("header", "", make("b", "", s.label), row[s.name] ? make("span", "dim", show(row[s.name])) : null,
        Number.isNaN(scores[k]) ? null : make("span", "score", numeral(scores[k]))),
      answer(row[s.field])));
    const gap = scores.length === 2 && scores.every((v) => !Number.isNaN(v)) ? `difference ${numeral(Number((scores[0] - scores[1]).toPrecision(6)))}` : "";
    const outcome = pane.outcome && row[pane.outcome] !== undefined ? make("span", "pill", show(row[pane.outcome])) : null;
    const head = make("h4", "", pane.title || "Answers", outcome, gap ? make("span", "dim", gap) : null);
    cards.forEach((card, k) => card.classList.toggle("won", pane.games !== "" && row[pane.outcome] === pane.sides[k].label.toLowerCase()));
    return make("section", "part", head, make("div", "sides", ...cards));
  }

  // Verdicts are told in the names of the sides: "a>>b" of sides A and B is "A >> B".
  const sideOf = (pane, text) => ({ a: pane.sides[0].label, b: pane.sides[1].label })[text] ?? text;
  const verdictOf = (pane, text) => (text ? String(text).split(/([<>=]+)/).map((piece) => sideOf(pane, piece)).join(" ") : "unscored");

  function game(pane, one) {
    const order = String(one.order || ""), scored = typeof one.score_a === "number" && typeof one.score_b === "number";
    const called = [[order[0], one.first], [order[1], one.second]].filter(([side, name]) => side && name && sideOf(pane, side) !== name)
      .map(([side, name]) => `${sideOf(pane, side)} is called ${name}`);
    const said = new Set(["judge", "order", "verdict", "score_a", "score_b", "first", "second", "reason", "problem", "text"]);
    const rest = Object.entries(one).filter(([k, v]) => !said.has(k) && v !== null && v !== "" && !(Array.isArray(v) && !v.length));
    const more = make("details", "more-of", make("summary", "", "All that the judge wrote"), prose(one.text || ""), grid(rest));
    const card = make("div", "side game",
      make("header", "", make("span", "pill" + (one.verdict ? "" : " bad"), verdictOf(pane, one.verdict)),
        scored ? make("span", "dim", `${numeral(one.score_a)} to ${numeral(one.score_b)}`) : null,
        make("span", "dim", `${sideOf(pane, order[0] || "")} first`), make("span", "dim judge", one.judge)),
      called.length ? make("p", "dim called", called.join(", ")) : null,
      one.problem ? make("p", "why", one.problem) : null,
      one.reason ? prose(one.reason) : null, more);
    return card;
  }

  function games(pane, list) {
    return part(`${title(pane.games)} (${list.length})`, make("div", "sides", ...list.map((one) => game(pane, one))));
  }

  const isLong = (value) => typeof value === "string" && (value.length > 120 || value.includes("\n"));

  function records(name, list) {
    if (list.some((item) => Object.values(item).some((v) => isLong(v) || isMessages(v)))) {
      return part(`${title(name)} (${list.length})`, ...list.map((item) => {
        const entries = Object.entries(item);
        return make("div", "side entry", grid(entries.filter(([, v]) => !isLong(v) && !isMessages(v))),
          ...entries.filter(([, v]) => isLong(v) || isMessages(v)).map(([k, v]) => make("div", "", make("span", "dim", title(k)), conversation(v))));
      }));
    }
    const keys = [...new Set(list.flatMap((item) => Object.keys(item)))];
    const cell = (tag, text) => make(tag, "", text);
    return part(`${title(name)} (${list.length})`, make("div", "scroll", make("table", "plain",
      make("thead", "", make("tr", "", ...keys.map((k) => cell("th", title(k))))),
      make("tbody", "", ...list.map((item) => make("tr", "", ...keys.map((k) => cell("td", show(item[k])))))))));
  }

  // A link of a column of links, null for what is none: an address on the web, or a page below this one's folder.
  function linked(f, value) {
    if (f?.kind !== "link" || typeof value !== "string" || HIDDEN.test(value)) return null;
    const inside = PAGE.test(value);
    if (!inside && !/^https?:\/\/[^\s]+$/i.test(value)) return null;
    return Object.assign(make("a", "", value), { href: value }, inside ? {} : { rel: "noopener noreferrer nofollow", target: "_blank" });
  }

  function grid(entries) {
    return make("dl", "grid", ...entries.map(([name, value]) => {
      const f = named.get(name);
      const key = make("dt", "", f ? f.label : title(name));
      if (f?.description) key.title = f.description;
      const item = make("dd", "", linked(f, value) || make("span", "", show(value, f?.unit)));
      item.dir = "auto";
      return make("div", "", key, item);
    }));
  }

  function calls(i, list) {
    const box = part(`Calls (${list.length})`);
    if (!HIDDEN.test(idOf(i)) && !/[\r\n\t]/.test(idOf(i))) {
      const id = /^[\w.:@/+-]+$/.test(idOf(i)) && !idOf(i).startsWith("-") ? idOf(i) : "'" + idOf(i).replace(/'/g, "'\\''") + "'";
      box.append(copyable(meta.trace.replace("{id}", () => id)));
    }
    box.append(make("ol", "keys-list", ...list.map((key) => make("li", "", make("code", "", show(key))))));
    return box;
  }

  function copyable(text) {
    const code = make("code", "", text);
    const press = button("Copy", "quiet", async () => {
      try {
        await navigator.clipboard.writeText(text);
        press.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        press.textContent = "Press Ctrl-C";
      }
      setTimeout(() => { press.textContent = "Copy"; }, 1600);
    });
    return make("div", "copy", code, press);
  }

  function drawDetail(i) {
    const row = rows[i], used = new Set(["id", "reject_reason", "reject_detail", "calls"]);
    const parts = [];
    for (const pane of meta.panes) {
      if (!pane.sides.every((s) => row[s.field] !== undefined && row[s.field] !== null)) continue;
      if (row[pane.prompt] && !used.has(pane.prompt)) parts.push(part(title(pane.prompt), conversation(row[pane.prompt], "user")));
      parts.push(sides(pane, row));
      if (pane.games && isRecords(row[pane.games])) {
        parts.push(games(pane, row[pane.games]));
        used.add(pane.games);
      }
      [pane.prompt, pane.outcome, ...pane.sides.flatMap((s) => [s.field, s.score, s.name])].forEach((name) => used.add(name));
    }
    const rest = Object.entries(row).filter(([name, value]) => !used.has(name) && value !== null && value !== undefined && value !== "");
    const flat = [], texts = [], lists = [];
    for (const [name, value] of rest) {
      if (isMessages(value)) parts.push(part(name === "messages" ? "Conversation" : title(name), chat(value)));
      else if (isRecords(value)) lists.push(records(name, value));
      else if (value && typeof value === "object" && !Array.isArray(value)) lists.push(part(title(name), grid(Object.entries(value))));
      else if (isLong(value)) texts.push(part(title(name), prose(value)));
      else flat.push([name, value]);
    }
    const place = (name) => named.get(name)?.place ?? 1e6;
    flat.sort((a, b) => place(a[0]) - place(b[0]));
    const position = view.indexOf(i);
    const head = make("header", "detail-head",
      anyRejected ? make("span", "pill " + (rejected[i] ? "bad" : "good"), rejected[i] ? "rejected" : "accepted") : null,
      make("h3", "", idOf(i)),
      make("span", "dim", position < 0 ? "outside the filters" : `${WHOLE.format(position + 1)} of ${WHOLE.format(view.length)}`),
      button("\u2191", "icon", () => move(state.cursor - 1), "Previous row (k)"),
      button("\u2193", "icon", () => move(state.cursor + 1), "Next row (j)"),
      button("\u00d7", "icon", closeRow, "Close (Esc)"));
    const why = rejected[i] ? make("p", "why", make("b", "", row.reject_reason), row.reject_detail ? ": " + row.reject_detail : null) : null;
    detail.replaceChildren(head, make("div", "detail-body", why, ...parts, ...texts,
      flat.length ? part("Fields", grid(flat)) : null, ...lists,
      Array.isArray(row.calls) && row.calls.length ? calls(i, row.calls) : null));
    detail.setAttribute("aria-label", "Row " + idOf(i));
    detail.lastElementChild.scrollTop = 0;
  }

  function openRow(i) {
    const fresh = detail.hidden;
    state.open = i;
    state.cursor = view.indexOf(i);
    detail.hidden = false;
    panes.classList.add("open");
    document.body.classList.add("reading");
    drawDetail(i);
    address(hashOf(i), fresh);
    if (fresh && phone.matches) detail.focus({ preventScroll: true });
    if (fresh) drawHead();
    drawRows(fresh);
    if (state.cursor >= 0) reveal(state.cursor);
  }

  function hideDetail() {
    if (detail.hidden) return;
    detail.hidden = true;
    detail.replaceChildren();
    state.open = -1;
    panes.classList.remove("open");
    document.body.classList.remove("reading");
    drawHead();
    drawRows(true);
    scroller.focus({ preventScroll: true });
  }

  function closeRow() {
    hideDetail();
    address(filterHash() || "#rows");
  }

  // ---- marks on what was searched ----

  function mark() {
    if (!CSS.highlights) return;
    CSS.highlights.clear();
    const wanted = terms.filter((t) => !t.not);
    if (!wanted.length) return;
    const ranges = [];
    for (const root of [body, detail]) {
      const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
      for (let node = walk.nextNode(); node && ranges.length < 2000; node = walk.nextNode()) {
        const text = node.data.toLowerCase();
        if (text.length !== node.data.length) continue;
        for (const term of wanted) {
          for (let at = text.indexOf(term.text); at >= 0 && ranges.length < 2000; at = text.indexOf(term.text, at + term.text.length)) {
            const range = new Range();
            range.setStart(node, at);
            range.setEnd(node, at + term.text.length);
            ranges.push(range);
          }
        }
      }
    }
    CSS.highlights.set("found", new Highlight(...ranges));
  }

  // ---- the address: #ID opens a row, #?column=value filters ----

  function address(hash, push) {
    try {
      history[push ? "pushState" : "replaceState"](null, "", hash);
    } catch { /* inside a sandboxed frame, or too often for this browser: the page works without */ }
  }

  function filterHash() {
    const out = new URLSearchParams();
    if (state.query) out.append("~q", state.query);
    for (const f of fields.filter(active)) {
      if (f.kind === "number") out.append(f.name, f.range.map((v) => (Math.abs(v) === Infinity ? "" : v)).join(".."));
      else for (const code of f.picked) out.append(f.name, f.values[code]);
    }
    if (state.sort) out.append("~sort", state.sort);
    return out.size ? "#?" + out : "";
  }

  function changed() {
    address(state.open >= 0 ? hashOf(state.open) : filterHash() || "#rows");
    update();
  }

  function readFilters(text) {
    const wanted = new URLSearchParams(text);
    state.query = wanted.get("~q") || "";
    state.sort = wanted.get("~sort") || "";
    $("search").value = state.query;
    for (const f of fields) { f.range = null; f.picked?.clear(); }
    for (const [name, value] of wanted) {
      const f = named.get(name);
      if (f?.kind === "number") {
        const [a, b] = value.split("..");
        f.range = [a === "" ? -Infinity : Number(a), b === "" || b === undefined ? Infinity : Number(b)];
      } else if (f?.kind === "category" && f.values.includes(value)) f.picked.add(f.values.indexOf(value));
    }
  }

  function follow() {
    const hash = location.hash.slice(1);
    if (hash.startsWith("?")) {
      readFilters(hash.slice(1));
      hideDetail();
      update();
      $("rows").scrollIntoView();
      return;
    }
    let id = hash;
    try { id = decodeURIComponent(hash); } catch { /* not percent-encoded: taken as it is */ }
    const i = hash.startsWith("@") ? Number(hash.slice(1)) : byId.get(id);
    if (hash && i !== undefined && rows[i]) {
      if (i !== state.open) openRow(i);
      $("rows").scrollIntoView();
    } else {
      hideDetail();
    }
  }

  // ---- events ----

  let pending = 0;
  $("search").addEventListener("input", () => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(() => { state.query = $("search").value; changed(); });
  });
  $("filters-toggle").addEventListener("click", () => {
    const on = panes.classList.toggle("filtering");
    $("filters-toggle").setAttribute("aria-expanded", on);
  });
  $("clear").addEventListener("click", clear);
  let frame = 0;
  scroller.addEventListener("scroll", () => {
    frame ||= requestAnimationFrame(() => { frame = 0; drawRows(false); });
  }, { passive: true });
  new ResizeObserver(() => { if (!detail.hidden) { drawHead(); drawRows(true); } else drawRows(false); }).observe(scroller);
  phone.addEventListener("change", () => drawRows(true));
  body.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row && !event.target.closest("a") && !String(getSelection())) openRow(view[Number(row.dataset.position)]);
  });
  addEventListener("hashchange", follow);
  addEventListener("popstate", follow);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const typing = event.target.matches("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape") {
      if (typing) { event.target.blur(); scroller.focus({ preventScroll: true }); }
      else if (!detail.hidden) closeRow();
      return;
    }
    if (typing) {
      if (event.target.id === "search" && (event.key === "ArrowDown" || event.key === "Enter")) { scroller.focus({ preventScroll: true }); move(0); event.preventDefault(); }
      return;
    }
    const inGrid = document.activeElement === scroller;
    const steps = { j: 1, k: -1, ...(inGrid ? { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -N, End: N } : {}) };
    if (event.key === "/") { $("search").focus(); $("search").select(); }
    else if (event.key in steps) { if (!inGrid && detail.hidden) { $("rows").scrollIntoView(); scroller.focus({ preventScroll: true }); } move(state.cursor + steps[event.key]); }
    else if (event.key === "Enter" && state.cursor >= 0 && (inGrid || document.activeElement === document.body)) { openRow(view[state.cursor]); detail.focus({ preventScroll: true }); }
    else return;
    event.preventDefault();
  });

  $("app").hidden = false;
  const hash = location.hash.slice(1);
  if (hash.startsWith("?")) readFilters(hash.slice(1));
  update();
  if (hash === "rows") $("rows").scrollIntoView();
  else if (hash && !hash.startsWith("?")) follow();
  else if (hash) $("rows").scrollIntoView();
  document.documentElement.dataset.ready = "yes";
  performance.measure("pica:load", { start: 0, end: performance.now() });
})();

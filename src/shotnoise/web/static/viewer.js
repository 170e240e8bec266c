// The viewer: one picture over the other with a border to drag, at real pixels where it matters.
//
// <shotnoise-view key="..." width="..." height="..." sides="before,after" version="1" amplified="8">
// Windows of the picture come as PNG from view/KEY/SIDE.png; nothing here resamples at 100 % and above, where one pixel
// of the picture is one, four or more pixels of the screen.

const TILE = 512;
const STEPS = [1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16];
const remembered = new Map(); // by key: where somebody looks stays when the picture is denoised again

const STYLE = `
:host { display: block; }
:host * { box-sizing: border-box; }
.sn-step { font-family: inherit; }
.sn-bar { display: flex; flex-wrap: wrap; gap: 0.35rem; align-items: center; margin-bottom: 0.45rem; }
.sn-gap { width: 0.6rem; }
.sn-step { border: 1px solid var(--border-color-primary); border-radius: 6px; padding: 0.25rem 0.65rem; font-size: 0.9rem; background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color); cursor: pointer; }
.sn-step:hover { background: var(--button-secondary-background-fill-hover); }
.sn-step[aria-pressed="true"] { border-color: var(--color-accent); box-shadow: inset 0 0 0 1px var(--color-accent); font-weight: 600; }
.sn-stage { position: relative; overflow: hidden; border-radius: 8px; background: #767676; touch-action: none; user-select: none; cursor: ew-resize; }
.sn-stage.sn-movable { cursor: grab; }
.sn-stage.sn-movable:active { cursor: grabbing; }
.sn-stage:focus-visible, .sn-handle:focus-visible, .sn-step:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.sn-layer { position: absolute; inset: 0; }
.sn-layer img { position: absolute; max-width: none; image-rendering: inherit; }
.sn-stage [hidden], .sn-layer[hidden] { display: none !important; }
.sn-tag { position: absolute; top: 8px; padding: 1px 8px; border-radius: 5px; background: rgb(0 0 0 / 65%); color: #fff; font-size: 0.8rem; pointer-events: none; }
.sn-left { left: 8px; }
.sn-right { right: 8px; }
.sn-zoom { top: auto; bottom: 8px; right: 8px; }
.sn-busy { top: auto; bottom: 8px; left: 8px; background: rgb(180 83 9 / 85%); }
.sn-handle { position: absolute; top: 0; bottom: 0; width: 2px; margin-left: -1px; background: #fff; box-shadow: 0 0 0 1px rgb(0 0 0 / 45%); cursor: ew-resize; }
.sn-handle::after { content: "\\25C2\\2009\\25B8"; position: absolute; top: 50%; left: 50%; transform: translate(-50%, -50%); width: 34px; height: 34px; line-height: 32px; text-align: center; letter-spacing: 1px; font-size: 14px; border-radius: 50%; background: #fff; color: #222; box-shadow: 0 0 0 1px rgb(0 0 0 / 45%); }
`;

const make = (tag, name, text) => {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  return element;
};

class ShotnoiseView extends HTMLElement {
  static observedAttributes = ["key", "sides", "version"]; // the page changes these rather than make a new element

  connectedCallback() {
    if (!this.shadowRoot) this.attachShadow({ mode: "open" }); // the page would remove what it did not put there
    this.begin();
  }

  attributeChangedCallback() {
    if (!this.shadowRoot || this.scheduled) return;
    this.scheduled = true; // they change one after the other
    queueMicrotask(() => {
      this.scheduled = false;
      if (this.isConnected) this.begin();
    });
  }

  begin() {
    this.disconnectedCallback();
    const given = (name) => this.getAttribute(name);
    this.key = given("key");
    this.wide = Number(given("width"));
    this.high = Number(given("height"));
    this.sides = given("sides").split(",");
    this.state = remembered.get(this.key) || { zoom: "fit", x: this.wide / 2, y: this.high / 2, split: 0.5, mode: "split" };
    remembered.clear();
    remembered.set(this.key, this.state);
    if (!this.both()) this.state.mode = "split";
    this.build();
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(this.stage);
    this.draw();
    if (this.both()) this.stage.scrollIntoView({ block: "nearest", behavior: "smooth" }); // on a phone it is far below
  }

  disconnectedCallback() {
    if (this.watcher) this.watcher.disconnect();
  }

  both() {
    return this.sides.includes("after");
  }

  build() {
    const bar = make("div", "sn-bar");
    this.buttons = {};
    const button = (name, label, title, act) => {
      const element = make("button", "sn-step", label);
      element.type = "button";
      element.title = title;
      element.addEventListener("click", act);
      this.buttons[name] = element;
      bar.append(element);
    };
    button("fit", "Fit", "the whole picture (key 0)", () => this.zoom("fit"));
    for (const step of [1, 2, 4]) {
      button(step, `${100 * step} %`, step === 1 ? "real pixels, one by one (key 1)" : `real pixels, each ${step} x ${step}`, () => this.zoom(step));
    }
    if (this.both()) {
      bar.append(make("span", "sn-gap"));
      button("split", "Before | after", "drag the border between them", () => this.look("split"));
      button("removed", "What was removed", `before - after, ${this.getAttribute("amplified")} times as strong, around gray`, () => this.look("removed"));
    }
    this.stage = make("div", "sn-stage");
    this.stage.tabIndex = 0;
    this.stage.setAttribute("aria-label", "picture; keys + and - zoom, 0 fits, 1 shows real pixels");
    this.layers = {};
    for (const side of ["after", "removed", "before"]) {
      this.layers[side] = make("div", "sn-layer");
      this.layers[side].dataset.side = side;
      this.layers[side].base = make("div");
      this.layers[side].detail = make("div");
      this.layers[side].append(this.layers[side].base, this.layers[side].detail);
      this.stage.append(this.layers[side]);
    }
    this.left = make("span", "sn-tag sn-left");
    this.right = make("span", "sn-tag sn-right");
    this.label = make("output", "sn-tag sn-zoom");
    this.busy = make("span", "sn-tag sn-busy", "loading pixels ...");
    this.handle = make("div", "sn-handle");
    this.handle.tabIndex = 0;
    this.handle.setAttribute("role", "slider");
    this.handle.setAttribute("aria-label", "border between before and after");
    this.handle.setAttribute("aria-valuemin", "0");
    this.handle.setAttribute("aria-valuemax", "100");
    this.stage.append(this.left, this.right, this.label, this.busy, this.handle);
    this.shadowRoot.replaceChildren(make("style", "", STYLE), bar, this.stage);
    this.listen();
  }

  listen() {
    let drag = null;
    this.stage.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const box = this.stage.getBoundingClientRect();
      const near = Math.abs(event.clientX - box.left - this.state.split * box.width) < 22;
      const split = this.both() && this.state.mode === "split" && (near || !this.movable());
      drag = { split, x: event.clientX, y: event.clientY, from: { ...this.state } };
      this.stage.setPointerCapture(event.pointerId);
      if (split) this.border((event.clientX - box.left) / box.width);
    });
    this.stage.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const box = this.stage.getBoundingClientRect();
      if (drag.split) return this.border((event.clientX - box.left) / box.width);
      const pixels = this.scale() / window.devicePixelRatio;
      this.state.x = drag.from.x - (event.clientX - drag.x) / pixels;
      this.state.y = drag.from.y - (event.clientY - drag.y) / pixels;
      this.draw();
    });
    for (const end of ["pointerup", "pointercancel"]) this.stage.addEventListener(end, () => (drag = null));
    this.stage.addEventListener("dblclick", (event) => this.zoom(this.state.zoom === "fit" ? 1 : "fit", event));
    this.stage.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const now = Date.now();
        if (now - (this.wheeled || 0) < 120) return; // a touchpad sends dozens of them for one gesture
        this.wheeled = now;
        this.step(event.deltaY < 0 ? 1 : -1, event);
      },
      { passive: false },
    );
    this.stage.addEventListener("keydown", (event) => {
      const acts = { "+": () => this.step(1), "=": () => this.step(1), "-": () => this.step(-1), 0: () => this.zoom("fit"), 1: () => this.zoom(1) };
      if (acts[event.key]) acts[event.key]();
    });
    this.handle.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: this.state.split - 0.02, ArrowRight: this.state.split + 0.02, Home: 0, End: 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.border(to);
    });
  }

  // Pixels of the screen for one pixel of the picture.
  scale() {
    if (this.state.zoom !== "fit") return this.state.zoom;
    const dense = window.devicePixelRatio;
    const fits = Math.min((this.stage.clientWidth * dense) / this.wide, (this.stage.clientHeight * dense) / this.high);
    return fits >= 1 ? Math.floor(fits) : fits; // small pictures in whole steps, so that their pixels stay squares
  }

  movable() {
    const pixels = this.scale() / window.devicePixelRatio;
    return this.wide * pixels > this.stage.clientWidth + 1 || this.high * pixels > this.stage.clientHeight + 1;
  }

  look(mode) {
    this.state.mode = mode;
    this.draw();
  }

  border(share) {
    this.state.split = Math.min(1, Math.max(0, share));
    this.draw();
  }

  step(direction, event) {
    const scale = this.scale();
    const steps = STEPS.filter((step) => (direction > 0 ? step > scale * 1.001 : step < scale * 0.999));
    const next = direction > 0 ? steps[0] : steps[steps.length - 1];
    const kept = this.state.zoom;
    this.state.zoom = "fit";
    const fit = this.scale();
    this.state.zoom = kept;
    if (next !== undefined) this.zoom(next <= fit ? "fit" : next, event);
  }

  // What is under the pointer stays there.
  zoom(to, event) {
    const box = this.stage.getBoundingClientRect();
    const dense = window.devicePixelRatio;
    const away = event ? [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2] : [0, 0];
    const before = this.scale() / dense;
    const [x, y] = [this.state.x + away[0] / before, this.state.y + away[1] / before];
    this.state.zoom = to;
    const after = this.scale() / dense;
    this.state.x = x - away[0] / after;
    this.state.y = y - away[1] / after;
    this.draw();
  }

  draw() {
    const wide = this.clientWidth;
    if (!wide) return;
    const most = 0.72 * window.innerHeight;
    const least = Math.min(most, 0.6 * wide, 460); // small pictures too have room to be enlarged in
    const enlarged = Math.max(1, Math.floor(wide / this.wide));
    const needed = Math.min(wide / this.wide, enlarged) * this.high;
    this.stage.style.height = `${Math.round(Math.max(220, Math.min(most, Math.max(least, needed))))}px`;
    const [stageWide, stageHigh] = [this.stage.clientWidth, this.stage.clientHeight];
    const dense = window.devicePixelRatio;
    const scale = this.scale();
    const pixel = scale / dense;
    const centre = (at, length, stage) =>
      length * pixel <= stage ? length / 2 : Math.min(length - stage / 2 / pixel, Math.max(stage / 2 / pixel, at));
    this.state.x = centre(this.state.x, this.wide, stageWide);
    this.state.y = centre(this.state.y, this.high, stageHigh);
    const snap = (value) => Math.round(value * dense) / dense;
    const box = this.stage.getBoundingClientRect(); // which may begin between two pixels of the screen
    const origin = [
      snap(box.left + stageWide / 2 - this.state.x * pixel) - box.left,
      snap(box.top + stageHigh / 2 - this.state.y * pixel) - box.top,
    ];
    const { mode, split } = this.state;
    const shown = !this.both() ? ["before"] : mode === "removed" ? ["removed"] : ["after", "before"];
    const fit = Math.min((stageWide * dense) / this.wide, (stageHigh * dense) / this.high);
    const level = (share) => (share >= 1 ? 1 : 2 ** Math.floor(Math.log2(1 / share)));
    this.pending = 0;
    for (const [side, layer] of Object.entries(this.layers)) {
      layer.hidden = !shown.includes(side);
      if (layer.hidden) continue;
      this.tiles(layer.base, side, level(fit), pixel, origin, snap, false);
      if (level(scale) < level(fit)) this.tiles(layer.detail, side, level(scale), pixel, origin, snap, scale >= 1);
      else layer.detail.replaceChildren();
      layer.base.style.imageRendering = scale >= 1 && level(fit) === 1 ? "pixelated" : "auto";
    }
    const both = this.both() && mode === "split";
    this.layers.before.style.clipPath = both ? `inset(0 ${(1 - split) * 100}% 0 0)` : "none";
    this.handle.hidden = !both;
    this.handle.style.left = `${split * 100}%`;
    this.handle.setAttribute("aria-valuenow", String(Math.round(split * 100)));
    this.left.textContent = !this.both() ? "as given" : both ? "before" : `removed, ${this.getAttribute("amplified")} times as strong`;
    this.right.textContent = "after";
    this.right.hidden = !both || split > 0.93;
    this.left.hidden = both && split < 0.07;
    this.stage.classList.toggle("sn-movable", this.movable());
    const percent = 100 * scale;
    this.label.textContent = `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %${scale < 1 ? ", averaged: noise looks weaker than it is" : ""}`;
    for (const [name, button] of Object.entries(this.buttons)) {
      const on = name === "split" || name === "removed" ? name === mode : String(this.state.zoom) === name;
      button.setAttribute("aria-pressed", String(on));
    }
    this.wait();
  }

  // The windows of one side at one level that can be seen, as pictures in their places.
  tiles(place, side, every, pixel, origin, snap, pixelated) {
    const span = TILE * every;
    const [stageWide, stageHigh] = [this.stage.clientWidth, this.stage.clientHeight];
    const first = (from) => Math.max(0, Math.floor(-from / pixel / span));
    const last = (from, stage, length) => Math.min(Math.ceil(length / span) - 1, Math.floor((stage - from) / pixel / span));
    const wanted = new Map();
    for (let row = first(origin[1]); row <= last(origin[1], stageHigh, this.high); row++) {
      for (let col = first(origin[0]); col <= last(origin[0], stageWide, this.wide); col++) {
        wanted.set(`${every}/${col}/${row}`, [col * span, row * span]);
      }
    }
    const there = new Map();
    for (const image of [...place.children]) {
      if (wanted.has(image.dataset.at)) there.set(image.dataset.at, image);
      else image.remove();
    }
    for (const [at, [x, y]] of wanted) {
      let image = there.get(at);
      if (!image) {
        image = make("img");
        image.dataset.at = at;
        image.alt = "";
        image.draggable = false;
        image.decoding = "async";
        image.addEventListener("load", () => this.wait());
        image.addEventListener("error", () => this.fail());
        image.src = `view/${this.key}/${side}.png?x=${x}&y=${y}&size=${TILE}&every=${every}&v=${this.getAttribute("version")}`;
        place.append(image);
      }
      const edges = [origin[0] + snap(x * pixel), origin[1] + snap(y * pixel)];
      const ends = [origin[0] + snap(Math.min(x + span, this.wide) * pixel), origin[1] + snap(Math.min(y + span, this.high) * pixel)];
      Object.assign(image.style, {
        left: `${edges[0]}px`,
        top: `${edges[1]}px`,
        width: `${ends[0] - edges[0]}px`,
        height: `${ends[1] - edges[1]}px`,
        imageRendering: pixelated ? "pixelated" : "",
      });
    }
  }

  wait() {
    const images = [...this.stage.querySelectorAll(".sn-layer:not([hidden]) img")];
    const pending = images.some((image) => !image.complete);
    this.busy.hidden = !pending;
    this.dataset.ready = String(!pending && images.length > 0);
  }

  fail() {
    this.busy.hidden = false;
    this.busy.textContent = "this picture is not there any more; open the file again";
  }
}

if (!customElements.get("shotnoise-view")) customElements.define("shotnoise-view", ShotnoiseView);

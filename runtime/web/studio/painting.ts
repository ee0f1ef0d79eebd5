/** The mask under a brush, in pixels of the whole picture; by pointer and by keyboard. */

import type { Overlay, Point, View } from "./view.ts";

export class Painting {
  readonly #canvas = document.createElement("canvas");
  readonly #context: CanvasRenderingContext2D;
  #cursor: Point = { x: 0, y: 0 };
  #from: Point | null = null;
  #erasing = false;
  #size = 60;
  active = false;
  /** Whether anything was painted since the last `values`. */
  changed = false;

  constructor(private readonly view: View) {
    const context = this.#canvas.getContext("2d", { willReadFrequently: true });
    if (!context) throw new Error("This browser must draw on canvases; it does not. Update it.");
    this.#context = context;
    const { canvas } = view;
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.active) return;
      canvas.setPointerCapture(event.pointerId);
      this.#from = view.toPicture(event);
      this.#stroke(this.#from);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.active) return;
      const point = view.toPicture(event);
      if (this.#from) this.#stroke(point);
      this.#cursor = point;
      view.draw();
    });
    for (const kind of ["pointerup", "pointercancel"] as const) {
      canvas.addEventListener(kind, () => (this.#from = null));
    }
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  get erasing(): boolean {
    return this.#erasing;
  }

  set erasing(erasing: boolean) {
    this.#erasing = erasing;
  }

  /** Diameter of the brush on the screen. */
  set size(size: number) {
    this.#size = size;
    this.view.draw();
  }

  /** Begin with a mask, or with none, of the view's picture. */
  reset(mask: ImageBitmap | null): void {
    this.#canvas.width = this.view.width;
    this.#canvas.height = this.view.height;
    if (mask) this.#context.drawImage(mask, 0, 0);
    mask?.close();
    this.#cursor = { x: this.view.width / 2, y: this.view.height / 2 };
    this.changed = false;
  }

  clear(): void {
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.changed = true;
    this.view.draw();
  }

  /** The mask's values. */
  values(): Uint8Array<ArrayBuffer> {
    const { width, height } = this.#canvas;
    const { data } = this.#context.getImageData(0, 0, width, height);
    const values = new Uint8Array(width * height);
    for (let i = 0; i < values.length; ++i) values[i] = data[4 * i + 3];
    this.changed = false;
    return values;
  }

  readonly overlay: Overlay = (context, scale) => {
    const { width, height } = this.#canvas;
    context.save();
    context.globalAlpha = 0.55;
    context.fillStyle = "#000";
    const veil = new OffscreenCanvas(Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale)));
    const inner = veil.getContext("2d");
    if (inner) {
      inner.fillRect(0, 0, veil.width, veil.height);
      inner.globalCompositeOperation = "destination-out";
      inner.drawImage(this.#canvas, 0, 0, veil.width, veil.height);
      context.drawImage(veil, 0, 0, width, height);
    }
    context.restore();
    const radius = this.#size / 2 / this.view.scale;
    for (const [colour, wide] of [["#000", 3], ["#fff", 1.5]] as const) {
      context.strokeStyle = colour;
      context.lineWidth = wide / scale;
      context.beginPath();
      context.arc(this.#cursor.x, this.#cursor.y, radius, 0, 2 * Math.PI);
      context.stroke();
    }
  };

  #stroke(to: Point): void {
    const context = this.#context, from = this.#from ?? to;
    context.globalCompositeOperation = this.#erasing ? "destination-out" : "source-over";
    context.strokeStyle = "#fff";
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = this.#size / this.view.scale;
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x + 0.001, to.y);
    context.stroke();
    this.#from = to;
    this.changed = true;
    this.view.draw();
  }

  #key(event: KeyboardEvent): void {
    if (!this.active) return;
    const step = (event.shiftKey ? 40 : 8) / this.view.scale;
    const moves: Record<string, [number, number]> = {
      ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step], " ": [0, 0],
    };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    this.#cursor = {
      x: Math.min(this.view.width, Math.max(0, this.#cursor.x + move[0])),
      y: Math.min(this.view.height, Math.max(0, this.#cursor.y + move[1])),
    };
    this.#from = this.#cursor;
    if (event.key === " ") this.#stroke(this.#cursor);
    this.#from = null;
    this.view.draw();
  }
}

/** The picture in the middle: before and after, a split between, the loupe's glass. */

import { drawOn } from "./elements.ts";

export interface Point {
  readonly x: number;
  readonly y: number;
}

interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** What is drawn over the picture in other modes, in picture pixels. */
export type Overlay = (context: CanvasRenderingContext2D, scale: number) => void;

export class View {
  before: CanvasImageSource | null = null;
  after: CanvasImageSource | null = null;
  /** Size of the whole picture, whatever the previews have. */
  width = 0;
  height = 0;
  /** Of the pictures. */
  space: PredefinedColorSpace = "srgb";
  overlay: Overlay | null = null;
  #split = 0.5;
  #box: Box = { x: 0, y: 0, width: 1, height: 1 };
  #due = 0;

  constructor(
    private readonly root: HTMLElement,
    /** Holds what is drawn on, which a picture in another space gets anew; takes keys and pointers. */
    readonly canvas: HTMLElement,
    private readonly handle: HTMLElement,
    private readonly tags: readonly [HTMLElement, HTMLElement],
  ) {
    new ResizeObserver(() => this.draw()).observe(root);
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      event.preventDefault();
      handle.focus();
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      this.split = this.toPicture(event).x / this.width;
    });
    handle.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.1 : 0.02;
      const moves: Record<string, number> = {
        ArrowLeft: this.#split - step, ArrowRight: this.#split + step, Home: 0, End: 1,
      };
      if (!(event.key in moves)) return;
      event.preventDefault();
      this.split = moves[event.key];
    });
  }

  get split(): number {
    return this.#split;
  }

  set split(part: number) {
    this.#split = Math.min(1, Math.max(0, part));
    this.draw();
  }

  /** CSS pixels of one picture pixel. */
  get scale(): number {
    return this.#box.width / Math.max(1, this.width);
  }

  /** Where a pointer is, in picture pixels. */
  toPicture(event: MouseEvent): Point {
    const place = this.root.getBoundingClientRect();
    return {
      x: (event.clientX - place.left - this.#box.x) / this.scale,
      y: (event.clientY - place.top - this.#box.y) / this.scale,
    };
  }

  /** Where a picture pixel is, in CSS pixels of the view. */
  toView(point: Point): Point {
    return { x: this.#box.x + point.x * this.scale, y: this.#box.y + point.y * this.scale };
  }

  /** Draw in the next frame of the screen. */
  draw(): void {
    this.#due ||= requestAnimationFrame(() => {
      this.#due = 0;
      this.#draw();
    });
  }

  #draw(): void {
    const { before } = this;
    if (!before || !this.width) return;
    const place = this.root.getBoundingClientRect();
    if (!place.width || !place.height) return;
    const scale = Math.min(place.width / this.width, place.height / this.height, 4);
    const width = Math.max(1, Math.round(this.width * scale));
    const height = Math.max(1, Math.round(this.height * scale));
    this.#box = {
      x: Math.round((place.width - width) / 2), y: Math.round((place.height - height) / 2),
      width, height,
    };
    const dots = devicePixelRatio || 1;
    Object.assign(this.canvas.style, {
      left: `${this.#box.x}px`, top: `${this.#box.y}px`, width: `${width}px`, height: `${height}px`,
    });
    const shown = this.canvas.firstElementChild as HTMLCanvasElement;
    const context = drawOn(shown, Math.round(width * dots), Math.round(height * dots), this.space);
    if (!context) return;
    const { canvas } = context;
    context.imageSmoothingQuality = "high";
    const compared = this.after !== null && !this.overlay;
    context.drawImage(before, 0, 0, canvas.width, canvas.height);
    if (this.after && compared) {
      const edge = Math.round(this.#split * canvas.width);
      context.save();
      context.beginPath();
      context.rect(edge, 0, canvas.width - edge, canvas.height);
      context.clip();
      context.drawImage(this.after, 0, 0, canvas.width, canvas.height);
      context.restore();
    }
    if (this.overlay) {
      context.scale(canvas.width / this.width, canvas.height / this.height);
      this.overlay(context, (width * dots) / this.width);
    }
    this.#layOut(compared);
  }

  #layOut(compared: boolean): void {
    const { x, y, width, height } = this.#box;
    this.handle.hidden = !compared;
    const at = Math.round(this.#split * width);
    Object.assign(this.handle.style, { left: `${x + at}px`, top: `${y}px`, height: `${height}px` });
    const percent = Math.round(this.#split * 100);
    this.handle.setAttribute("aria-valuenow", String(percent));
    this.handle.setAttribute("aria-valuetext", `${percent} % before`);
    const [left, right] = this.tags;
    left.hidden = !compared || at < 70;
    right.hidden = !compared || width - at < 100;
    Object.assign(left.style, { left: `${x + 8}px`, top: `${y + 8}px` });
    Object.assign(right.style, { right: `${this.root.clientWidth - x - width + 8}px`, top: `${y + 8}px` });
  }
}

/** A cut-out on its background: moved, scaled and turned by hand and by keyboard. */

import type { Placement } from "./protocol.ts";
import type { Overlay, Point, View } from "./view.ts";

export class Placing {
  active = false;
  placement: Placement = { x: 0, y: 0, scale: 1, angle: 0 };
  #bitmap: ImageBitmap | null = null;
  #held: Point | null = null;

  constructor(private readonly view: View, private readonly moved: () => void) {
    const { canvas } = view;
    canvas.addEventListener("pointerdown", (event) => {
      if (!this.active) return;
      canvas.setPointerCapture(event.pointerId);
      this.#held = view.toPicture(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.active || !this.#held) return;
      const point = view.toPicture(event);
      this.change({
        x: this.placement.x + point.x - this.#held.x, y: this.placement.y + point.y - this.#held.y,
      });
      this.#held = point;
    });
    for (const kind of ["pointerup", "pointercancel"] as const) {
      canvas.addEventListener(kind, () => (this.#held = null));
    }
    canvas.addEventListener("wheel", (event) => {
      if (!this.active) return;
      event.preventDefault();
      const { scale, angle } = this.placement;
      if (event.shiftKey) this.change({ angle: angle + Math.sign(event.deltaY + event.deltaX) * 2 });
      else this.change({ scale: scale * (event.deltaY < 0 ? 1.04 : 1 / 1.04) });
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  take(bitmap: ImageBitmap): void {
    this.#bitmap?.close();
    this.#bitmap = bitmap;
  }

  /** Stand in the middle of the bottom, 70 % of the background's height at most. */
  fit(width: number, height: number): void {
    if (!this.#bitmap) return;
    const { width: w, height: h } = this.#bitmap;
    const scale = Math.min(1, (0.7 * height) / h, (0.9 * width) / w);
    this.placement = { x: width / 2, y: height - (h * scale) / 2, scale, angle: 0 };
  }

  change(part: Partial<Placement>): void {
    const next = { ...this.placement, ...part };
    const angle = ((((next.angle + 180) % 360) + 360) % 360) - 180;
    this.placement = { ...next, angle, scale: Math.min(20, Math.max(0.01, next.scale)) };
    this.moved();
    this.view.draw();
  }

  readonly overlay: Overlay = (context, scale) => {
    if (!this.#bitmap) return;
    const { x, y, scale: size, angle } = this.placement;
    const { width, height } = this.#bitmap;
    context.translate(x, y);
    context.rotate((angle * Math.PI) / 180);
    context.scale(size, size);
    context.drawImage(this.#bitmap, -width / 2, -height / 2);
    context.strokeStyle = "#fff";
    context.lineWidth = 1.5 / (scale * size);
    context.setLineDash([6 / (scale * size), 4 / (scale * size)]);
    context.strokeRect(-width / 2, -height / 2, width, height);
  };

  #key(event: KeyboardEvent): void {
    if (!this.active) return;
    const step = (event.shiftKey ? 20 : 2) / this.view.scale;
    const { x, y, scale, angle } = this.placement;
    const changes: Record<string, Partial<Placement>> = {
      ArrowLeft: { x: x - step }, ArrowRight: { x: x + step }, ArrowUp: { y: y - step },
      ArrowDown: { y: y + step }, "+": { scale: scale * 1.03 }, "=": { scale: scale * 1.03 },
      "-": { scale: scale / 1.03 }, "[": { angle: angle - 1 }, "]": { angle: angle + 1 },
    };
    if (!(event.key in changes)) return;
    event.preventDefault();
    this.change(changes[event.key]);
  }
}

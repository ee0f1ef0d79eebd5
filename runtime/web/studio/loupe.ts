/** A glass that shows the whole picture's pixels, one to one: before on the left, after right. */

import type { Region } from "../src/wasm.ts";
import { drawOn } from "./elements.ts";
import { latest } from "./session.ts";
import type { Point, View } from "./view.ts";

const SIDE = 280;

interface Shown {
  readonly before: ImageBitmap;
  readonly after: ImageBitmap;
}

export class Loupe {
  #active = false;
  #at: Point = { x: 0, y: 0 };
  readonly #ask: (at: Point) => Promise<void>;

  constructor(
    private readonly view: View,
    private glass: HTMLCanvasElement,
    fetchRegion: (region: Region) => Promise<Shown | null>,
  ) {
    this.#ask = latest(async (at) => {
      const region = this.#region(at);
      const shown = await fetchRegion(region);
      if (shown && this.#active) this.#show(shown, at);
    });
    const { canvas } = view;
    canvas.addEventListener("pointermove", (event) => {
      if (this.#active) this.look(view.toPicture(event));
    });
    canvas.addEventListener("keydown", (event) => {
      if (!this.#active) return;
      const step = event.shiftKey ? 100 : 20;
      const moves: Record<string, [number, number]> = {
        ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step],
      };
      const move = moves[event.key];
      if (!move) return;
      event.preventDefault();
      this.look({ x: this.#at.x + move[0], y: this.#at.y + move[1] });
    });
  }

  get active(): boolean {
    return this.#active;
  }

  set active(active: boolean) {
    this.#active = active;
    this.glass.hidden = !active;
    if (active) this.look({ x: this.view.width / 2, y: this.view.height / 2 });
  }

  look(at: Point): void {
    this.#at = {
      x: Math.min(this.view.width, Math.max(0, at.x)),
      y: Math.min(this.view.height, Math.max(0, at.y)),
    };
    void this.#ask(this.#at);
  }

  /** Look again at the same place, at other pixels. */
  again(): void {
    if (this.#active) void this.#ask(this.#at);
  }

  #region(at: Point): Region {
    const side = Math.round(SIDE * (devicePixelRatio || 1));
    const width = Math.min(side, this.view.width), height = Math.min(side, this.view.height);
    const within = (value: number, size: number, most: number) =>
      Math.round(Math.min(most - size, Math.max(0, value - size / 2)));
    return {
      x: within(at.x, width, this.view.width), y: within(at.y, height, this.view.height), width, height,
    };
  }

  #show({ before, after }: Shown, at: Point): void {
    const { width, height } = before;
    const context = drawOn(this.glass, width, height, this.view.space);
    if (context) this.glass = context.canvas;
    const dots = devicePixelRatio || 1;
    const middle = Math.floor(width / 2);
    if (context) {
      context.drawImage(before, 0, 0);
      context.drawImage(after, middle, 0, width - middle, height, middle, 0, width - middle, height);
      context.fillStyle = "#fff";
      context.fillRect(middle, 0, 1, height);
    }
    before.close();
    after.close();
    const place = this.view.toView(at);
    const root = this.glass.parentElement as HTMLElement;
    const left = Math.min(root.clientWidth - width / dots, Math.max(0, place.x - width / dots / 2));
    const above = place.y - height / dots - 24;
    const top = above >= 0 ? above : Math.min(root.clientHeight - height / dots, place.y + 24);
    Object.assign(this.glass.style, {
      left: `${left}px`, top: `${top}px`, width: `${width / dots}px`, height: `${height / dots}px`,
    });
  }
}

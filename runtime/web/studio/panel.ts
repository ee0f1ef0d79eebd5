/** One slider a filter, with what the network predicted marked on it. */

import { type Arguments } from "../src/arguments.ts";
import { MAX_STRENGTH, OPERATIONS } from "../src/registry.ts";

export interface Look {
  readonly arguments: Arguments;
  readonly strength: number;
}

export interface PanelEvents {
  /** While a slider moves. */
  change(look: Look): void;
  /** Once it rests. */
  commit(look: Look): void;
}

interface Row {
  readonly input: HTMLInputElement;
  readonly output: HTMLOutputElement;
  readonly mark: HTMLElement;
  readonly reset: HTMLButtonElement;
}

export class Panel {
  #rows = new Map<string, Row>();
  #look: Look = { arguments: {}, strength: 1 };
  #predicted: Arguments | null = null;

  constructor(private readonly root: HTMLElement, private readonly events: PanelEvents) {}

  get look(): Look {
    return this.#look;
  }

  /** Show a look; the sliders are made anew where its filters differ. */
  show(look: Look, predicted: Arguments | null): void {
    const names = ["strength", ...Object.keys(look.arguments)];
    if (names.join() !== [...this.#rows.keys()].join()) this.#build(look);
    this.#look = look;
    this.#predicted = predicted;
    this.#update();
  }

  set disabled(disabled: boolean) {
    for (const { input } of this.#rows.values()) input.disabled = disabled;
    this.#update();
  }

  #build(look: Look): void {
    this.root.replaceChildren();
    this.#rows.clear();
    this.#add("strength", "Of all arguments: 0 is the composite, 1 as they are", 0, MAX_STRENGTH, 1);
    for (const [name, value] of Object.entries(look.arguments)) {
      if (typeof value !== "number") {
        const note = document.createElement("p");
        note.className = "quiet";
        note.textContent = `${name.replace("_", " ")}: ${value.length} slopes, shown below.`;
        this.root.append(note);
        continue;
      }
      const { minimum, maximum, effect, identity } = OPERATIONS[name];
      this.#add(name, effect, minimum, maximum, identity);
    }
  }

  #add(name: string, effect: string, minimum: number, maximum: number, rest: number): void {
    const row = document.createElement("div");
    row.className = name === "strength" ? "slider strength" : "slider";
    const label = document.createElement("label");
    label.htmlFor = `slider-${name}`;
    label.textContent = name;
    label.title = effect;
    const output = document.createElement("output");
    output.htmlFor.add(`slider-${name}`);
    const reset = document.createElement("button");
    reset.type = "button";
    reset.className = "undo";
    reset.textContent = "↺";
    reset.title = `Reset ${name}`;
    reset.setAttribute("aria-label", `Reset ${name}`);
    const track = document.createElement("div");
    track.className = "track";
    const part = (value: number) => (value - minimum) / (maximum - minimum);
    const zero = tick("zero", part(rest));
    const mark = tick("predicted", 0);
    mark.title = "what the network predicted";
    const input = document.createElement("input");
    Object.assign(input, {
      type: "range", id: `slider-${name}`, min: String(minimum), max: String(maximum), step: "0.005",
    });
    input.setAttribute("aria-description", effect);
    input.addEventListener("input", () => {
      this.#set(name, input.valueAsNumber);
      this.events.change(this.#look);
    });
    input.addEventListener("change", () => this.events.commit(this.#look));
    const back = () => {
      this.#set(name, this.#target(name));
      this.events.change(this.#look);
      this.events.commit(this.#look);
    };
    reset.addEventListener("click", back);
    input.addEventListener("dblclick", back);
    track.append(zero, mark, input);
    row.append(label, output, reset, track);
    this.root.append(row);
    this.#rows.set(name, { input, output, mark, reset });
  }

  /** What a reset goes to: the prediction, or what changes nothing. */
  #target(name: string): number {
    if (name === "strength") return 1;
    const predicted = this.#predicted?.[name];
    return typeof predicted === "number" ? predicted : OPERATIONS[name].identity;
  }

  #value(name: string): number {
    return name === "strength" ? this.#look.strength : (this.#look.arguments[name] as number);
  }

  #set(name: string, value: number): void {
    this.#look = name === "strength"
      ? { ...this.#look, strength: value }
      : { ...this.#look, arguments: { ...this.#look.arguments, [name]: value } };
    this.#update();
  }

  #update(): void {
    for (const [name, { input, output, mark, reset }] of this.#rows) {
      const value = this.#value(name);
      input.valueAsNumber = value;
      const text = name === "strength" ? `${Math.round(value * 100)} %` : signed(value);
      output.textContent = text;
      input.setAttribute("aria-valuetext", this.#spoken(name, text));
      const predicted = name === "strength" ? undefined : this.#predicted?.[name];
      mark.hidden = typeof predicted !== "number";
      if (typeof predicted === "number") {
        place(mark, (predicted - Number(input.min)) / (Number(input.max) - Number(input.min)));
      }
      reset.disabled = input.disabled || Math.abs(value - this.#target(name)) < 1e-9;
    }
  }

  #spoken(name: string, text: string): string {
    const predicted = name === "strength" ? undefined : this.#predicted?.[name];
    return typeof predicted === "number" ? `${text}, predicted ${signed(predicted)}` : text;
  }
}

function signed(value: number): string {
  const rounded = value.toFixed(2);
  return Number(rounded) > 0 ? `+${rounded}` : Number(rounded) === 0 ? "0.00" : rounded.replace("-", "−");
}

function tick(kind: string, part: number): HTMLElement {
  const element = document.createElement("i");
  element.className = kind;
  place(element, part);
  return element;
}

/** A slider's thumb is 14 pixels wide, and its middle does not reach the ends. */
function place(element: HTMLElement, part: number): void {
  const clamped = Math.min(1, Math.max(0, part));
  element.style.left = `calc(7px + (100% - 14px) * ${clamped})`;
}

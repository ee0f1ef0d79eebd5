/** What the page does: files in, arguments, pictures out. */

import { type Arguments, fromJson, identity, scaled, toJson } from "../src/arguments.ts";
import { InvalidError } from "../src/errors.ts";
import { DEFAULT_LABEL, LABELS } from "../src/registry.ts";
import { drawCurves, drawHistogram } from "./charts.ts";
import { download, element } from "./elements.ts";
import { History } from "./history.ts";
import { type Intake, sortFiles } from "./intake.ts";
import { fromFragment, toFragment } from "./link.ts";
import { Loupe } from "./loupe.ts";
import { Painting } from "./painting.ts";
import { type Look, Panel } from "./panel.ts";
import { Placing } from "./placing.ts";
import type { ExportKind, Opened } from "./protocol.ts";
import { latest, Session } from "./session.ts";
import { View } from "./view.ts";

type Mode = "look" | "paint" | "place";

/** What a screen reader says of the picture; it has keys of its own in the last two. */
const SPOKEN: Record<Mode, string> = {
  look: "The picture, before on the left and harmonized on the right",
  paint: "The mask: arrow keys move the brush, Space paints",
  place: "The cut-out: arrow keys move it, + and - scale, [ and ] turn",
};

export class Studio {
  readonly session = new Session("worker.js", (busy) => (element("busy").hidden = !busy));
  readonly view = new View(element("view"), element("canvas"), element("split"), [
    element("tag-before"), element("tag-after"),
  ]);
  readonly panel = new Panel(element("sliders"), {
    change: (look) => this.#changed(look),
    commit: (look) => this.#committed(look),
  });
  readonly painting = new Painting(this.view);
  readonly placing = new Placing(this.view, () => this.#showPlacement());
  readonly loupe = new Loupe(this.view, element("glass"), async (region) =>
    this.session.call("loupe", { arguments: this.#masked ? this.#drawn() : identity(), region }),
  );
  #history: History<Look> | null = null;
  #predicted: Arguments | null = null;
  #model = "harmonizer";
  #open = false;
  #masked = false;
  #background: File | null = null;
  #title = "harmonized";
  #mode: Mode = "look";
  #composite: ImageBitmap | null = null;
  /** What is to be known of the picture that is open. */
  #notes: readonly string[] = [];
  /** The look that the address came with, until a picture is there to draw it on. */
  #held: Arguments | null = null;
  /** A cut-out is there, and its background is not. */
  #waiting = false;
  /** Why the renderer did not load. */
  #failed: unknown = null;
  #turn: Promise<void> = Promise.resolve();
  readonly #preview = latest(async (given: Arguments) => {
    const { bitmap, milliseconds } = await this.session.call("preview", { arguments: given });
    (this.view.after as ImageBitmap | null)?.close();
    this.view.after = bitmap;
    this.view.draw();
    element("speed").textContent = `${Math.round(milliseconds)} ms a change`;
    document.documentElement.dataset.drawn = JSON.stringify(given);
  });
  readonly #charts = latest(async (given: Arguments) => {
    const charts = await this.session.call("charts", { arguments: given });
    drawHistogram(element("chart-foreground"), charts.foreground);
    drawHistogram(element("chart-background"), charts.background);
    drawCurves(element("chart-curves"), charts.curves);
  });

  /** Load the renderer; the network loads behind it. */
  async start(): Promise<void> {
    const base = new URL(".", document.baseURI).href;
    const { version, threads, notes } = await this.session.call("load", {
      base, processors: navigator.hardwareConcurrency || 1,
    }).catch((error: unknown) => {
      this.#failed = error;
      throw error;
    });
    element("facts").textContent = `harmonizer ${version}, ${threads} thread${threads > 1 ? "s" : ""}`;
    if (notes.length) this.hint(notes.join(" "));
    const label = element<HTMLSelectElement>("label");
    label.append(...LABELS.map((name) => new Option(name, name, false, name === DEFAULT_LABEL)));
    document.documentElement.dataset.ready = "";
    this.#held = fromFragment(location.hash);
    if (this.#held) this.hint("The link's look is drawn on the next picture.");
  }

  /** Draw the look of an address that somebody changed. */
  takeFragment(): void {
    const held = fromFragment(location.hash);
    if (held && this.#masked) this.#apply({ arguments: held, strength: 1 });
    else this.#held = held;
  }

  /** Run something a person asked for; what goes wrong is said, and nothing is lost. */
  async attempt(run: () => Promise<void> | void): Promise<void> {
    element("message").hidden = true;
    try {
      await run();
    } catch (error) {
      element("message").textContent = (error as Error).message;
      element("message").hidden = false;
    }
  }

  /** The same, after what was asked for before: a second drop does not mix with the first. */
  inTurn(run: () => Promise<void> | void): Promise<void> {
    return (this.#turn = this.#turn.then(() => this.attempt(run)));
  }

  async take(files: readonly File[]): Promise<void> {
    if (this.#failed) throw this.#failed;
    const { width, height } = this.view;
    const present = { width, height, open: this.#open, waiting: this.#waiting };
    const intake = await sortFiles(files, present, (file) =>
      this.session.call("inspect", { file, name: file.name }),
    );
    if (intake.model) await this.#takeModel(intake.model);
    if (intake.cutout) await this.#takeCutout(intake.cutout, intake.background);
    else if (intake.background) await this.#takeBackground(intake.background);
    else if (intake.composite) await this.#takeComposite(intake);
    else if (intake.mask) await this.#takeMask(intake.mask);
    if (intake.arguments) await this.#takeArguments(intake.arguments);
  }

  async example(): Promise<void> {
    const fetched = async (name: string) => {
      const response = await fetch(new URL(`example/${name}`, document.baseURI));
      return new File([await response.blob()], name);
    };
    await this.take([await fetched("composite.jpg"), await fetched("mask.png")]);
  }

  async #takeComposite({ composite, mask }: Intake): Promise<void> {
    if (!composite) return;
    const opened = await this.session.call("open", { file: composite, name: composite.name });
    this.#background = this.#history = null;
    this.#waiting = false;
    this.#shown(opened, composite.name);
    if (mask) await this.#takeMask(mask);
    else await this.setMode("paint");
  }

  async #takeMask(file: File): Promise<void> {
    const { mask } = await this.session.call("maskFile", { file, name: file.name });
    this.painting.reset(mask);
    this.#masked = true;
    await this.setMode("look");
    await this.predict();
  }

  async #takeCutout(file: File, background?: File): Promise<void> {
    const { bitmap } = await this.session.call("cutout", { file, name: file.name });
    this.placing.take(bitmap);
    const behind = background ?? this.#background;
    this.#waiting = !behind;
    if (behind) await this.#takeBackground(behind);
    else this.hint("Now drop a background for the cut-out.");
  }

  async #takeBackground(file: File): Promise<void> {
    const { width, height } = await this.session.call("inspect", { file, name: file.name });
    this.placing.fit(width, height);
    this.#background = file;
    this.#history = null;
    this.#waiting = false;
    element("place").hidden = false;
    if (this.#mode === "place") return this.setMode("look"); // composes and predicts
    await this.#compose();
    await this.setMode("look");
    await this.predict();
  }

  async #compose(): Promise<void> {
    const file = this.#background;
    if (!file) return;
    const { placement } = this.placing;
    const opened = await this.session.call("compose", { background: file, name: file.name, placement });
    this.#shown(opened, file.name);
    this.painting.reset(opened.mask);
    this.#masked = true;
  }

  async #takeArguments(file: File): Promise<void> {
    const given = fromJson(await file.text(), file.name);
    if (this.#masked) {
      this.#apply({ arguments: given, strength: 1 });
      return;
    }
    this.#held = given;
    this.hint("The arguments are taken, and are drawn on the next picture with a mask.");
  }

  async #takeModel(file: File): Promise<void> {
    const { model } = await this.session.call("model", { data: await file.arrayBuffer(), name: file.name });
    await this.setModel(model);
    this.hint(`${file.name} predicts from now on.`);
  }

  #shown({ width, height, space, preview, notes }: Opened, name: string): void {
    Object.assign(this.view, { width, height, space, before: preview, after: null });
    this.#composite?.close();
    this.#composite = preview;
    this.#open = true;
    this.#masked = false;
    this.#title = name.replace(/\.[^.]*$/, "");
    element("empty").hidden = true;
    element("view").hidden = false;
    this.hint("");
    element("place").hidden = !this.#background;
    element("facts").textContent = `${name}, ${width} × ${height}` +
      (space === "srgb" ? "" : ", Display P3");
    for (const id of ["paint", "place", "loupe"]) element<HTMLButtonElement>(id).disabled = false;
    this.painting.reset(null);
    this.view.draw();
    this.#notes = notes;
    if (this.#history) return;
    this.panel.disabled = true;
    this.#settled();
  }

  /** Predict anew, and draw what is predicted; or the look that the address holds. */
  async predict(): Promise<void> {
    const model = this.#model;
    const label = model === "s2crnet" ? element<HTMLSelectElement>("label").value : undefined;
    const found = await this.session.call("predict", { model, label });
    this.#predicted = found.arguments;
    if (!this.view.after) this.view.split = found.middle;
    const held = this.#held;
    this.#held = null;
    const strength = this.#history?.current.strength ?? 1;
    this.#apply({ arguments: held ?? found.arguments, strength: held ? 1 : strength });
    const said = [...found.concerns, ...this.#notes];
    if (said.length) this.hint(said.join(" "));
    element<HTMLButtonElement>("reset").disabled = false;
    await this.against();
  }

  async setModel(name: string): Promise<void> {
    const before = this.#model;
    try {
      this.#showModel(name);
      if (this.#masked) await this.predict();
    } catch (error) {
      this.#showModel(before);
      throw error;
    }
  }

  #showModel(name: string): void {
    this.#model = name;
    element("label-row").hidden = name !== "s2crnet";
    for (const input of document.querySelectorAll<HTMLInputElement>("[name=model]")) {
      input.checked = input.value === name;
    }
  }

  /** What is shown on the left: the composite, or what another network makes of it. */
  async against(): Promise<void> {
    const select = element<HTMLSelectElement>("against"), choice = select.value;
    let before: ImageBitmap | null = this.#composite;
    if (choice !== "composite" && this.#masked) {
      try {
        const other = await this.session.call("predict", { model: choice });
        before = (await this.session.call("preview", { arguments: other.arguments })).bitmap;
      } catch (error) {
        select.value = "composite";
        await this.against();
        throw error;
      }
    }
    if (this.view.before !== this.#composite) (this.view.before as ImageBitmap | null)?.close();
    this.view.before = before;
    const names: Record<string, string> = { composite: "Before", harmonizer: "Harmonizer", s2crnet: "S2CRNet" };
    element("tag-before").textContent = names[choice];
    element("tag-after").textContent =
      choice === "composite" ? "Harmonized" : (names[this.#model] ?? this.#model);
    this.view.draw();
  }

  #drawn(): Arguments {
    const { arguments: given, strength } = this.panel.look;
    return scaled(given, strength);
  }

  #apply(look: Look): void {
    if (this.#history) this.#history.push(look);
    else this.#history = new History(look);
    this.#show(look);
  }

  #show(look: Look): void {
    this.panel.show(look, this.#predicted);
    this.panel.disabled = !this.#masked;
    this.#changed(look);
    this.#settled();
  }

  #changed(look: Look): void {
    if (!this.#masked) return;
    void this.attempt(() => this.#preview(scaled(look.arguments, look.strength)));
  }

  #committed(look: Look): void {
    this.#history?.push(look);
    this.#settled();
  }

  #settled(): void {
    element<HTMLButtonElement>("undo").disabled = !this.#history?.canUndo;
    element<HTMLButtonElement>("redo").disabled = !this.#history?.canRedo;
    element("saving").querySelector("summary")?.setAttribute("aria-disabled", String(!this.#history));
    if (!this.#masked) return;
    void this.attempt(() => this.#charts(this.#drawn()));
    this.loupe.again();
  }

  async setMode(mode: Mode): Promise<void> {
    const before = this.#mode;
    this.#mode = mode;
    this.painting.active = mode === "paint";
    this.placing.active = mode === "place";
    this.loupe.active &&= mode === "look";
    element("brush").hidden = mode !== "paint";
    element("placing").hidden = mode !== "place";
    element("paint").setAttribute("aria-pressed", String(mode === "paint"));
    element("place").setAttribute("aria-pressed", String(mode === "place"));
    element("loupe").setAttribute("aria-pressed", String(this.loupe.active));
    this.hint("");
    this.view.canvas.setAttribute("aria-label", SPOKEN[mode]);
    this.view.canvas.setAttribute("role", mode === "look" ? "img" : "application");
    this.view.overlay = mode === "paint" ? this.painting.overlay : null;
    if (mode === "place") await this.#showBackground();
    this.view.draw();
    if (mode !== "look") this.view.canvas.focus();
    if (mode === "paint") {
      const how = "Paint over the foreground. Arrow keys move the brush, Space paints.";
      this.hint([how, ...this.#notes].join(" "));
    }
    if (before === "paint" && mode === "look" && this.painting.changed) {
      const data = this.painting.values();
      await this.session.call("mask", { data }, [data.buffer]);
      this.#masked = true;
      await this.predict();
    }
    if (before === "paint" && mode === "look" && !this.#masked) {
      this.hint("Nothing is painted: there is no foreground to draw on. Paint it, or drop a mask.");
    }
    if (before === "place" && mode === "look") {
      await this.#compose();
      await this.predict();
    }
  }

  async #showBackground(): Promise<void> {
    if (!this.#background) return;
    const bitmap = await createImageBitmap(this.#background, { imageOrientation: "from-image" });
    this.view.before = bitmap;
    this.view.overlay = this.placing.overlay;
    this.#showPlacement();
    this.hint("Drag, wheel to scale, Shift and wheel to turn. Arrow keys, + and −, [ and ] do the same.");
  }

  #showPlacement(): void {
    element<HTMLInputElement>("place-scale").valueAsNumber = this.placing.placement.scale * 100;
    element<HTMLInputElement>("place-angle").valueAsNumber = this.placing.placement.angle;
  }

  toggle(mode: Mode): void {
    if (!this.#open || (mode === "place" && !this.#background)) return;
    void this.inTurn(() => this.setMode(this.#mode === mode ? "look" : mode));
  }

  async save(kind: string): Promise<void> {
    if (!this.#history) throw new InvalidError("Something must be open to save; nothing is. Open a picture.");
    const given = this.#drawn();
    if (kind === "json") {
      download(new Blob([toJson(given)], { type: "application/json" }), `${this.#title}.json`);
    } else if (kind === "link") {
      history.replaceState(null, "", toFragment(given));
      // A browser has no clipboard on http, other than this machine's, and may refuse it.
      const { clipboard } = navigator as Partial<Navigator>;
      const copied = await clipboard?.writeText(location.href).then(() => true, () => false);
      this.#say(copied ? "The link is copied." : "The address bar holds the link; copy it from there.");
    } else {
      const request = { kind: kind as ExportKind, arguments: given, title: this.#title };
      const { blob } = await this.session.call("export", request);
      const ending = { png: "png", png16: "16.png", jpeg: "jpg", cube: "cube" }[kind as ExportKind];
      download(blob, `${this.#title}-harmonized.${ending}`);
      this.#say(`Saved, ${(blob.size / 2 ** 20).toFixed(1)} MiB.`);
    }
  }

  #say(text: string): void {
    element("status").textContent = text;
  }

  /** A note over the picture, until it is closed; empty for none. */
  hint(text: string): void {
    element("hint-text").textContent = text;
    element("hint").hidden = !text;
  }

  undo(): void {
    if (this.#history) this.#show(this.#history.undo());
  }

  redo(): void {
    if (this.#history) this.#show(this.#history.redo());
  }

  /** Back to the prediction. */
  reset(): void {
    if (this.#predicted) this.#apply({ arguments: this.#predicted, strength: 1 });
  }

  toggleLoupe(): void {
    if (!this.#open || this.#mode !== "look") return;
    this.loupe.active = !this.loupe.active;
    element("loupe").setAttribute("aria-pressed", String(this.loupe.active));
    if (this.loupe.active) this.view.canvas.focus();
  }
}

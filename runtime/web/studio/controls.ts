/** The page's buttons, keys, drops and pastes. */

import { InvalidError } from "../src/errors.ts";
import { button, element } from "./elements.ts";
import type { Studio } from "./studio.ts";

export function connect(studio: Studio): void {
  const files = element<HTMLInputElement>("files");
  const choose = () => files.click();
  files.addEventListener("change", () => {
    const chosen = [...(files.files ?? [])];
    files.value = "";
    void studio.inTurn(() => studio.take(chosen));
  });
  for (const id of ["open", "open-first", "brush-file"]) button(id, choose);
  for (const id of ["example", "example-first"]) button(id, () => void studio.inTurn(() => studio.example()));
  button("undo", () => studio.undo());
  button("redo", () => studio.redo());
  for (const id of ["paint", "brush-done"]) button(id, () => studio.toggle("paint"));
  for (const id of ["place", "place-done"]) button(id, () => studio.toggle("place"));
  button("loupe", () => studio.toggleLoupe());
  button("reset", () => studio.reset());
  button("hint-close", () => studio.hint(""));
  for (const input of document.querySelectorAll<HTMLInputElement>("[name=model]")) {
    input.addEventListener("change", () => void studio.inTurn(() => studio.setModel(input.value)));
  }
  element("against").addEventListener("change", () => void studio.inTurn(() => studio.against()));
  element("label").addEventListener("change", () => void studio.inTurn(() => studio.predict()));
  window.addEventListener("hashchange", () => void studio.attempt(() => studio.takeFragment()));
  connectSaving(studio);
  connectBrush(studio);
  connectDrops(studio);
  connectKeys(studio, choose);
}

function connectSaving(studio: Studio): void {
  const menu = element<HTMLDetailsElement>("saving"), summary = menu.querySelector("summary");
  for (const item of menu.querySelectorAll<HTMLButtonElement>("[data-save]")) {
    item.addEventListener("click", () => {
      menu.open = false;
      summary?.focus();
      void studio.attempt(() => studio.save(item.dataset.save ?? ""));
    });
  }
  summary?.addEventListener("click", (event) => {
    if (summary.ariaDisabled === "true") event.preventDefault();
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.stopPropagation();
    menu.open = false;
    summary?.focus();
  });
  for (const kind of ["pointerdown", "focusin"]) {
    window.addEventListener(kind, ({ target }) => {
      if (target instanceof Node && !menu.contains(target)) menu.open = false;
    });
  }
}

function connectBrush({ painting, placing }: Studio): void {
  const size = element<HTMLInputElement>("brush-size");
  size.addEventListener("input", () => (painting.size = size.valueAsNumber));
  const erase = (erasing: boolean) => {
    painting.erasing = erasing;
    element("brush-add").setAttribute("aria-pressed", String(!erasing));
    element("brush-erase").setAttribute("aria-pressed", String(erasing));
  };
  button("brush-add", () => erase(false));
  button("brush-erase", () => erase(true));
  button("brush-clear", () => painting.clear());
  const scale = element<HTMLInputElement>("place-scale"), angle = element<HTMLInputElement>("place-angle");
  scale.addEventListener("input", () => placing.change({ scale: scale.valueAsNumber / 100 }));
  angle.addEventListener("input", () => placing.change({ angle: angle.valueAsNumber }));
}

function connectDrops(studio: Studio): void {
  const stage = element("stage");
  window.addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("dropping");
  });
  window.addEventListener("dragleave", () => stage.classList.remove("dropping"));
  const take = (files: FileList | undefined, how: string) => studio.inTurn(() => {
    if (files?.length) return studio.take([...files]);
    throw new InvalidError(`What is ${how} must be files; it is none. Save the picture, then open its file.`);
  });
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    stage.classList.remove("dropping");
    void take(event.dataTransfer?.files, "dropped");
  });
  window.addEventListener("paste", (event) => void take(event.clipboardData?.files, "pasted"));
}

function connectKeys(studio: Studio, choose: () => void): void {
  window.addEventListener("keydown", (event) => {
    const typing = event.target instanceof HTMLElement && event.target.matches("select");
    const command = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (command && key === "z") {
      event.preventDefault();
      if (event.shiftKey) studio.redo();
      else studio.undo();
    } else if (command && key === "o") {
      event.preventDefault();
      choose();
    } else if (!command && !event.altKey && !typing) {
      if (key === "m") studio.toggle("paint");
      else if (key === "p") studio.toggle("place");
      else if (key === "l") studio.toggleLoupe();
      else if (key === "escape") studio.hint("");
    }
  });
}

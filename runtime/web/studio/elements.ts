/** The page's elements by their ids. */

export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html must have #${id}; it has not. Build the studio again.`);
  return found as T;
}

export function button(id: string, run: () => void): HTMLButtonElement {
  const found = element<HTMLButtonElement>(id);
  found.addEventListener("click", run);
  return found;
}

export function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

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

/**
 * To draw on a canvas of that size, cleared, in a space. A canvas keeps the space that it had first, so
 * in another one a new canvas takes its place.
 */
export function drawOn(
  canvas: HTMLCanvasElement, width: number, height: number, colorSpace: PredefinedColorSpace,
): CanvasRenderingContext2D | null {
  let context = canvas.getContext("2d", { colorSpace });
  // Browsers that have sRGB alone may not say which space it is.
  if ((context?.getContextAttributes?.().colorSpace ?? "srgb") !== colorSpace) {
    const other = canvas.cloneNode() as HTMLCanvasElement;
    canvas.replaceWith(other);
    context = other.getContext("2d", { colorSpace });
  }
  if (context) Object.assign(context.canvas, { width, height });
  return context;
}

export function download(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

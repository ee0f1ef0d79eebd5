/** Save a plan's colours as a .cube LUT, and its curves, as lut.py and curves.py do. */

import type { Library } from "./wasm.ts";
import type { Plan } from "./plan.ts";

/** Draw colours that are no picture: (n, 3) float32 in [0, 1]. */
function drawColours(library: Library, plan: Plan, colours: Float32Array): Float32Array {
  const image = library.place(colours, colours.length / 3, 1, 3);
  try {
    library.draw(image, null, plan, image);
    return library.view(image).slice() as Float32Array;
  } finally {
    library.release(image);
  }
}

/** The text of a three-dimensional .cube file; red varies fastest. */
export function cube(library: Library, plan: Plan, title: string, size: 33 | 65 = 33): string {
  const colours = new Float32Array(size ** 3 * 3);
  const axis = Float32Array.from({ length: size }, (_, i) => i / (size - 1));
  let at = 0;
  for (const blue of axis) {
    for (const green of axis) {
      for (const red of axis) {
        colours[at++] = red;
        colours[at++] = green;
        colours[at++] = blue;
      }
    }
  }
  const drawn = drawColours(library, plan, colours);
  const clean = title.replaceAll('"', " ").split(/\s+/).filter(Boolean).join(" ");
  const lines = [
    `TITLE "${clean}"`, `LUT_3D_SIZE ${size}`, "DOMAIN_MIN 0.0 0.0 0.0", "DOMAIN_MAX 1.0 1.0 1.0",
  ];
  for (let i = 0; i < drawn.length; i += 3) {
    lines.push(`${drawn[i].toFixed(7)} ${drawn[i + 1].toFixed(7)} ${drawn[i + 2].toFixed(7)}`);
  }
  return `${lines.join("\n")}\n`;
}

/** What greys become: (size, 3), R, G and B at even steps from black to white. */
export function greys(library: Library, plan: Plan, size = 256): Float32Array {
  const ramp = new Float32Array(size * 3).map((_, i) => Math.floor(i / 3) / (size - 1));
  return drawColours(library, plan, ramp);
}

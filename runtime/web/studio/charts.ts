/** Histograms and curves on small canvases. */

const COLOURS = ["#e5484d", "#3fa34d", "#4a7dfc"];

function begin(canvas: HTMLCanvasElement): CanvasRenderingContext2D | null {
  const context = canvas.getContext("2d");
  context?.clearRect(0, 0, canvas.width, canvas.height);
  return context;
}

/** Three histograms over each other; `counts` of 256 values each. */
export function drawHistogram(canvas: HTMLCanvasElement, counts: Uint32Array): void {
  const context = begin(canvas);
  if (!context) return;
  const { width, height } = canvas;
  const inner = [...counts].filter((_, i) => i % 256 > 1 && i % 256 < 254);
  const top = Math.max(1, ...inner) ** 0.5;
  context.globalAlpha = 0.55;
  COLOURS.forEach((colour, channel) => {
    context.fillStyle = colour;
    context.beginPath();
    context.moveTo(0, height);
    for (let value = 0; value < 256; ++value) {
      const share = Math.min(1, counts[channel * 256 + value] ** 0.5 / top);
      context.lineTo((value / 255) * width, height - share * (height - 3));
    }
    context.lineTo(width, height);
    context.fill();
  });
  context.globalAlpha = 1;
}

/** What greys become: (256, 3) in [0, 1]. */
export function drawCurves(canvas: HTMLCanvasElement, curves: Float32Array): void {
  const context = begin(canvas);
  if (!context) return;
  const { width, height } = canvas;
  const at = (x: number, y: number): [number, number] => [
    3 + x * (width - 6), height - 3 - y * (height - 6),
  ];
  context.strokeStyle = "#88888866";
  context.lineWidth = 1;
  context.beginPath();
  for (const part of [0.25, 0.5, 0.75]) {
    context.moveTo(...at(part, 0));
    context.lineTo(...at(part, 1));
    context.moveTo(...at(0, part));
    context.lineTo(...at(1, part));
  }
  context.moveTo(...at(0, 0));
  context.lineTo(...at(1, 1));
  context.stroke();
  context.lineWidth = 1.75;
  COLOURS.forEach((colour, channel) => {
    context.strokeStyle = colour;
    context.beginPath();
    for (let i = 0; i < 256; ++i) context.lineTo(...at(i / 255, curves[3 * i + channel]));
    context.stroke();
  });
}

/** Colours beyond sRGB: the page draws and saves in sRGB, and says what that takes away. */

/** How files say which colours theirs are: JPEG, PNG, WebP, AVIF. */
const MARKS = ["ICC_PROFILE", "iCCP", "cICP", "ICCP", "colr"];
const HEAD_BYTES = 2 ** 18;
/** More than decoding rounds to. */
const BEYOND = 1.5 / 255;

/** Linear light of Display P3 to that of sRGB (CSS Color 4, D65 both). */
const TO_SRGB = [
  [1.2249401763, -0.2249401763, 0],
  [-0.0420569547, 1.0420569547, 0],
  [-0.0196375546, -0.0786360456, 1.0982736001],
];

/** Light of an encoded value; signed, as values beyond sRGB are. */
function lightOf(value: number): number {
  const size = Math.abs(value);
  return Math.sign(value) * (size <= 0.04045 ? size / 12.92 : ((size + 0.055) / 1.055) ** 2.4);
}

const LIGHT = Float64Array.from({ length: 256 }, (_, i) => lightOf(i / 255));
const LEAST = lightOf(-BEYOND), MOST = lightOf(1 + BEYOND);

/** How many pixels of RGBA in Display P3 lie beyond sRGB. */
export function countBeyond(data: ArrayLike<number>): number {
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    const red = LIGHT[data[i]], green = LIGHT[data[i + 1]], blue = LIGHT[data[i + 2]];
    count += TO_SRGB.some(([r, g, b]) => {
      const light = r * red + g * green + b * blue;
      return light < LEAST || light > MOST;
    }) ? 1 : 0;
  }
  return count;
}

/** Of this context TypeScript does not know them. */
function attributesOf(context: object): CanvasRenderingContext2DSettings | undefined {
  return (context as Partial<CanvasRenderingContext2D>).getContextAttributes?.();
}

/** What is said of a picture's colours, if the file says which ones they are and they are others. */
export async function colourNotes(file: Blob, bitmap: ImageBitmap, name: string): Promise<string[]> {
  const head = new TextDecoder("latin1").decode(await file.slice(0, HEAD_BYTES).arrayBuffer());
  if (!MARKS.some((mark) => head.includes(mark))) return [];
  const { width, height } = bitmap;
  const wide = new OffscreenCanvas(width, height).getContext("2d", {
    willReadFrequently: true, colorSpace: "display-p3",
  });
  if (!wide || attributesOf(wide)?.colorSpace !== "display-p3") {
    return [
      `${name} holds a colour profile, and this browser converted it to sRGB: colours beyond it, if ` +
        "there are any, became the nearest that it has. The command line keeps them.",
    ];
  }
  wide.drawImage(bitmap, 0, 0);
  const { data } = wide.getImageData(0, 0, width, height, { colorSpace: "display-p3" });
  const count = countBeyond(data);
  if (!count) return [];
  const share = (100 * count) / (width * height);
  return [
    `${name} has colours beyond sRGB (${share < 0.1 ? "less than 0.1" : share.toFixed(1)} % of its ` +
      "pixels): here they are shown, drawn and saved as the nearest that sRGB has. The command " +
      "line keeps them.",
  ];
}

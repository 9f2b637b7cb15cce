/** One bar: a value and, where it was measured more than once, how far it spread. */
export interface Bar {
  name: string;
  value: number;
  least?: number;
  most?: number;
  isOurs: boolean;
}

/** Bars of one unit, the shortest best. */
export interface Panel {
  title: string;
  unit: string;
  bars: readonly Bar[];
}

const WIDTH = 760;
const LABELS = 250;
const VALUES = 90;
const ROW = 26;
const HEAD = 34;
const GAP = 18;
const OURS = '#0b7285';
const OTHERS = '#adb5bd';
const INK = '#212529';

/** Panels of horizontal bars, one below the other, as an SVG that is readable on any page. */
export function barsSvg(title: string, panels: readonly Panel[]): string {
  let y = 44;
  const parts: string[] = [];
  for (const panel of panels) {
    parts.push(...panelOf(panel, y));
    y += HEAD + panel.bars.length * ROW + GAP;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" font-family="system-ui, sans-serif" font-size="13" fill="${INK}">`,
    `<rect width="${WIDTH}" height="${y}" rx="8" fill="#ffffff"/>`,
    `<text x="16" y="28" font-size="16" font-weight="600">${escaped(title)}</text>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

function panelOf({ title, unit, bars }: Panel, top: number): string[] {
  const longest = Math.max(...bars.map(({ value, most = value }) => most));
  const scale = (WIDTH - LABELS - VALUES) / longest;
  return [
    `<text x="16" y="${top + 20}" font-weight="600">${escaped(title)}</text>`,
    ...bars.flatMap((bar, at) => barOf(bar, unit, top + HEAD + at * ROW, scale)),
  ];
}

function barOf({ name, value, least, most, isOurs }: Bar, unit: string, y: number, scale: number) {
  const middle = y + ROW / 2;
  const end = LABELS + (most ?? value) * scale;
  const spread =
    least === undefined || most === undefined
      ? []
      : [
          `<line x1="${round(LABELS + least * scale)}" x2="${round(end)}" y1="${middle}" y2="${middle}" stroke="${INK}"/>`,
        ];
  return [
    `<text x="${LABELS - 8}" y="${middle + 4}" text-anchor="end">${escaped(name)}</text>`,
    `<rect x="${LABELS}" y="${y + 4}" width="${round(value * scale)}" height="${ROW - 8}" rx="2" fill="${isOurs ? OURS : OTHERS}"/>`,
    ...spread,
    `<text x="${round(end + 8)}" y="${middle + 4}">${shown(value)} ${unit}</text>`,
  ];
}

/** Two or three digits say what a measurement can. */
export function shown(value: number): string {
  if (value >= 100) return value.toFixed(0);
  if (value >= 10) return value.toFixed(1);
  return value >= 1 || value === 0 ? value.toFixed(2) : value.toPrecision(2);
}

function round(value: number): string {
  return value.toFixed(1);
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

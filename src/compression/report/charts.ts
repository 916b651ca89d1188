import { escapeHtml } from './page.js';

/** Charts as inline SVG; colours are classes of the page's style sheet, so that they follow its light or dark theme. */

const WIDTH = 860;
const LABEL_WIDTH = 250;
const VALUE_WIDTH = 110;
const BAR_WIDTH = WIDTH - LABEL_WIDTH - VALUE_WIDTH;
const ROW_HEIGHT = 26;
const BAR_HEIGHT = 16;
/** Characters of a label that have room before the bars. */
const LABEL_CHARACTERS = 34;

export interface Bar {
  readonly label: string;
  /** Lengths one after the other, with the class that colours each. */
  readonly parts: readonly { readonly value: number; readonly className: string; readonly title: string }[];
  /** Said behind the bar. */
  readonly text: string;
}

/** Horizontal bars on a common linear scale from 0. */
export function stackedBars(bars: readonly Bar[], title: string): string {
  const largest = Math.max(...bars.map(({ parts }) => parts.reduce((sum, { value }) => sum + value, 0)), 0);
  const scale = largest === 0 ? 0 : BAR_WIDTH / largest;
  const rows = bars.map(({ label, parts, text }, index) => {
    const y = index * ROW_HEIGHT;
    let x = LABEL_WIDTH;
    const rectangles = parts.map(({ value, className, title: said }) => {
      const width = value * scale;
      const drawn = rectangle(x, y, width, className, said);
      x += width;
      return drawn;
    });
    return labelAt(label, y) + rectangles.join('') + valueAt(text, x, y);
  });
  return svg(rows.join(''), bars.length * ROW_HEIGHT, title);
}

export interface LogBar {
  readonly label: string;
  /** Above 0. */
  readonly value: number;
  readonly className: string;
  readonly text: string;
  readonly title: string;
}

/** Horizontal bars on a common logarithmic scale, with a line at each power of ten. */
export function logBars(bars: readonly LogBar[], title: string): string {
  const logs = bars.map(({ value }) => Math.log10(value));
  // Half a decade below the least, so that its bar can be seen.
  const low = Math.floor(Math.min(...logs) - 0.5);
  const high = Math.max(Math.ceil(Math.max(...logs)), low + 1);
  const place = (log: number): number => LABEL_WIDTH + ((log - low) / (high - low)) * BAR_WIDTH;
  const height = bars.length * ROW_HEIGHT;
  const grid = decades(low, high).map(
    (power) =>
      `<line class="grid" x1="${round(place(power))}" x2="${round(place(power))}" y1="0" y2="${height}"/>` +
      `<text class="tick" x="${round(place(power))}" y="${height + 14}" text-anchor="middle">1e${power}</text>`,
  );
  const rows = bars.map(({ label, className, text, title: said }, index) => {
    const y = index * ROW_HEIGHT;
    const end = place(logs[index] ?? low);
    return (
      labelAt(label, y) +
      rectangle(LABEL_WIDTH, y, end - LABEL_WIDTH, className, said) +
      valueAt(text, end, y)
    );
  });
  return svg(grid.join('') + rows.join(''), height + 20, title);
}

/** Powers of ten to mark: every one, or every second, third and so on where there are many. */
function decades(low: number, high: number): number[] {
  const step = Math.ceil((high - low) / 8);
  return Array.from({ length: Math.floor((high - low) / step) + 1 }, (_, index) => low + index * step);
}

function rectangle(x: number, y: number, width: number, className: string, title: string): string {
  const shown = Math.max(width, width > 0 ? 1 : 0);
  const top = y + (ROW_HEIGHT - BAR_HEIGHT) / 2;
  return `<rect class="${className}" x="${round(x)}" y="${top}" width="${round(shown)}" height="${BAR_HEIGHT}"><title>${escapeHtml(title)}</title></rect>`;
}

function labelAt(label: string, y: number): string {
  const x = LABEL_WIDTH - 10;
  return `<text class="label" x="${x}" y="${y + 17}" text-anchor="end">${escapeHtml(shortened(label))}<title>${escapeHtml(label)}</title></text>`;
}

function valueAt(text: string, x: number, y: number): string {
  return `<text class="value" x="${round(x + 6)}" y="${y + 17}">${escapeHtml(text)}</text>`;
}

/** A long name without its middle: its start says where it is, its end what it is. */
function shortened(label: string): string {
  if (label.length <= LABEL_CHARACTERS) return label;
  const start = Math.floor((LABEL_CHARACTERS - 1) / 3);
  return `${label.slice(0, start)}…${label.slice(label.length - (LABEL_CHARACTERS - 1 - start))}`;
}

function svg(content: string, height: number, title: string): string {
  return `<div class="scroll"><svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeHtml(title)}">${content}</svg></div>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

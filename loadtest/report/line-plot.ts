import { assert } from '../../src/core/index.js';
import { escapeHtml } from './escape.js';
import { niceTicks, logTicks } from './ticks.js';

export interface Series {
  readonly name: string;
  /** From 0; which colour and marker it has. Series of one thing share it. */
  readonly colour: number;
  readonly isDashed?: boolean;
  /** In the order of x. */
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Lines over one axis each way. */
export interface Plot {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly isLogY: boolean;
  readonly series: readonly Series[];
  /** A horizontal line, such as an objective. */
  readonly reference?: { readonly name: string; readonly y: number };
  /** Stretches of x that are told apart, such as an overload. */
  readonly bands?: readonly { readonly name: string; readonly from: number; readonly to: number }[];
}

const WIDTH = 860;
const HEIGHT = 400;
const PLOT = { left: 72, right: 16, top: 28, bottom: 52 } as const;
const LEGEND_ROW = 22;
const LEGEND_COLUMNS = 4;
const COLOURS = 6;

interface Scale {
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly number[];
  /** Pixel of a value. */
  at(value: number): number;
}

/** The plot as one inline SVG whose colours are the page's; every point tells its values when it is pointed at. */
export function linePlotSvg(plot: Plot): string {
  const points = plot.series.flatMap(({ points: all }) => all);
  assert(points.length > 0, `plot ${plot.title} has no points`);
  const x = xScale(points.map(([value]) => value));
  const y = yScale(plot, points);
  const legendRows = Math.ceil(
    (plot.series.length + (plot.reference === undefined ? 0 : 1)) / LEGEND_COLUMNS,
  );
  const height = HEIGHT + legendRows * LEGEND_ROW;
  return [
    `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeHtml(plot.title)}">`,
    ...bands(plot, x),
    ...axes(plot, x, y),
    ...referenceLine(plot, y),
    ...plot.series.map((series) => line(series, x, y, plot)),
    ...legend(plot),
    '</svg>',
  ].join('\n');
}

function xScale(values: readonly number[]): Scale {
  const ticks = niceTicks(0, Math.max(...values));
  const [low, high] = [0, Math.max(ticks.at(-1) ?? 1, ...values)];
  const span = WIDTH - PLOT.left - PLOT.right;
  return { low, high, ticks, at: (value) => PLOT.left + ((value - low) / (high - low)) * span };
}

function yScale({ isLogY, reference }: Plot, points: readonly (readonly [number, number])[]): Scale {
  const values = [...points.map(([, value]) => value), ...(reference === undefined ? [] : [reference.y])];
  const positive = values.filter((value) => value > 0);
  const ticks = isLogY
    ? logTicks(Math.min(...positive), Math.max(...positive))
    : niceTicks(0, Math.max(...values, 1e-9));
  const [low, high] = [ticks[0] ?? 0, ticks.at(-1) ?? 1];
  const position = isLogY ? Math.log : (value: number): number => value;
  const span = HEIGHT - PLOT.top - PLOT.bottom;
  const share = (value: number): number =>
    (position(value) - position(low)) / (position(high) - position(low));
  return { low, high, ticks, at: (value) => HEIGHT - PLOT.bottom - share(Math.max(value, low)) * span };
}

function axes({ title, xLabel, yLabel }: Plot, x: Scale, y: Scale): string[] {
  const bottom = HEIGHT - PLOT.bottom;
  const right = WIDTH - PLOT.right;
  return [
    `<text class="plot-title" x="${PLOT.left}" y="16">${escapeHtml(title)}</text>`,
    ...y.ticks.flatMap((tick) => [
      `<line class="grid" x1="${PLOT.left}" x2="${right}" y1="${pixel(y.at(tick))}" y2="${pixel(y.at(tick))}"/>`,
      `<text class="tick" text-anchor="end" x="${PLOT.left - 8}" y="${pixel(y.at(tick) + 4)}">${short(tick)}</text>`,
    ]),
    ...x.ticks.map(
      (tick) =>
        `<text class="tick" text-anchor="middle" x="${pixel(x.at(tick))}" y="${bottom + 18}">${short(tick)}</text>`,
    ),
    `<line class="axis" x1="${PLOT.left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>`,
    `<text class="label" text-anchor="middle" x="${(PLOT.left + right) / 2}" y="${bottom + 40}">${escapeHtml(xLabel)}</text>`,
    `<text class="label" text-anchor="middle" transform="translate(16 ${(PLOT.top + bottom) / 2}) rotate(-90)">${escapeHtml(yLabel)}</text>`,
  ];
}

function bands({ bands: all = [] }: Plot, x: Scale): string[] {
  return all.flatMap(({ name, from, to }) => [
    `<rect class="band" x="${pixel(x.at(from))}" width="${pixel(x.at(to) - x.at(from))}" y="${PLOT.top}" height="${HEIGHT - PLOT.top - PLOT.bottom}"/>`,
    `<text class="tick" text-anchor="middle" x="${pixel((x.at(from) + x.at(to)) / 2)}" y="${PLOT.top + 14}">${escapeHtml(name)}</text>`,
  ]);
}

function referenceLine({ reference }: Plot, y: Scale): string[] {
  if (reference === undefined) return [];
  const at = pixel(y.at(reference.y));
  return [`<line class="reference" x1="${PLOT.left}" x2="${WIDTH - PLOT.right}" y1="${at}" y2="${at}"/>`];
}

function line(series: Series, x: Scale, y: Scale, { xLabel, yLabel }: Plot): string {
  const { name, colour, isDashed = false, points } = series;
  const path = points.map(
    ([px, py], place) => `${place === 0 ? 'M' : 'L'}${pixel(x.at(px))} ${pixel(y.at(py))}`,
  );
  const dots = points.map(
    ([px, py]) =>
      `<circle class="dot${isDashed ? ' hollow' : ''}" cx="${pixel(x.at(px))}" cy="${pixel(y.at(py))}" r="3.5">` +
      `<title>${escapeHtml(`${name}: ${xLabel} ${short(px)}, ${yLabel} ${short(py)}`)}</title></circle>`,
  );
  return `<g class="series c${colour % COLOURS}${isDashed ? ' dashed' : ''}"><path d="${path.join('')}"/>${dots.join('')}</g>`;
}

function legend({ series, reference }: Plot): string[] {
  const entries = [
    ...series.map(({ name, colour, isDashed = false }) => ({
      name,
      classes: `series c${colour % COLOURS}${isDashed ? ' dashed' : ''}`,
    })),
    ...(reference === undefined ? [] : [{ name: reference.name, classes: 'series reference-key' }]),
  ];
  const width = (WIDTH - PLOT.left) / LEGEND_COLUMNS;
  return entries.map(({ name, classes }, place) => {
    const left = PLOT.left + (place % LEGEND_COLUMNS) * width;
    const top = HEIGHT + 8 + Math.floor(place / LEGEND_COLUMNS) * LEGEND_ROW;
    return `<g class="${classes}"><path d="M${pixel(left)} ${top}h28"/><text class="key" x="${pixel(left + 34)}" y="${top + 4}">${escapeHtml(name)}</text></g>`;
  });
}

function pixel(value: number): string {
  return value.toFixed(1);
}

/** Three digits are what an axis or a pointed-at value needs. */
function short(value: number): string {
  return value >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

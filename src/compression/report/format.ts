/** How reports write figures: short, the same everywhere. */

const BYTE_UNITS = ['B', 'KB', 'MB', 'GB', 'TB'];
const COUNT_UNITS = ['', ' K', ' M', ' G', ' T'];

/** `1.18 MB`: three digits, units of 1000. */
export function formatBytes(bytes: number): string {
  const { value, power } = scaled(bytes);
  return `${value} ${BYTE_UNITS[power] ?? ''}`;
}

/** `1.18 M`: three digits, units of 1000. */
export function formatCount(count: number): string {
  const { value, power } = scaled(count);
  return `${value}${COUNT_UNITS[power] ?? ''}`;
}

function scaled(count: number): { value: string; power: number } {
  let power = 0;
  let value = count;
  while (Math.abs(value) >= 999.5 && power < BYTE_UNITS.length - 1) {
    value /= 1000;
    power++;
  }
  return { value: power === 0 ? String(Math.round(value)) : value.toPrecision(3), power };
}

/** `4.0×` smaller, from before and after; `–` where there is nothing to divide. */
export function formatFactor(before: number, after: number): string {
  return before === 0 || after === 0 ? '–' : `${(before / after).toFixed(2)}×`;
}

/** `1.2e-3`; 0 and values that do not exist stay plain. */
export function formatError(error: number | undefined): string {
  if (error === undefined) return '–';
  return error === 0 ? '0' : error.toExponential(1);
}

/** Signal-to-noise ratio of a relative root mean square error in decibels: −20 log10 of it. `∞` where it is 0. */
export function formatDecibels(relativeRms: number | undefined): string {
  if (relativeRms === undefined) return '–';
  return relativeRms === 0 ? '∞' : (-20 * Math.log10(relativeRms)).toFixed(1);
}

/** `0.99998`; as many nines as it has are seen. */
export function formatCosine(cosine: number | undefined): string {
  return cosine === undefined ? '–' : cosine.toFixed(6);
}

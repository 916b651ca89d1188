import type { Advice } from './adviser.js';

/** What was inspected, as `whittle compress` takes it. */
export interface InspectedTarget {
  readonly path: string;
  readonly kind: 'file' | 'bundle';
}

/** The command that makes it, ready to paste into a POSIX shell. */
export function commandFor(advice: Advice, target: InspectedTarget): string {
  const { recipe, steps, isShorthand, needsRequests } = advice;
  const file = `${recipe}.json`;
  const write = isShorthand ? '' : `echo ${quoted(JSON.stringify(steps))} > ${file} && `;
  const compress = `whittle compress ${quoted(target.path)} --recipe ${isShorthand ? recipe : file}`;
  if (target.kind === 'bundle') return `${write}${compress} --name ${recipe}`;
  const calibrate = needsRequests ? ' --calibrate requests.parquet' : '';
  const stem = target.path.replace(/^.*[/\\]/, '').replace(/\.onnx$/i, '');
  return `${write}${compress}${calibrate} --out ${quoted(`${stem}-${recipe}`)}`;
}

function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

import { readFile } from 'node:fs/promises';

/** Whittle's version, from its package.json: two folders up as a source, three as the compiled file. */
export async function version(): Promise<string> {
  const up = import.meta.url.endsWith('.ts') ? '../../package.json' : '../../../package.json';
  const text = await readFile(new URL(up, import.meta.url), 'utf8');
  return String((JSON.parse(text) as { version: unknown }).version);
}

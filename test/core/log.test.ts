import { expect, test, vi } from 'vitest';
import { createLog, silentLog } from '../../src/core/index.js';

test('writes one JSON object a line, with time, level, event, base and fields', () => {
  const lines: string[] = [];
  const log = createLog({ component: 'gateway' }, (line) => lines.push(line));
  log.info('started', { port: 8080 });
  log.warn('slow\nline');
  log.error('failed', { component: 'runner' });

  expect(lines.every((line) => line.endsWith('}\n') && line.indexOf('\n') === line.length - 1)).toBe(true);
  const records = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(records).toMatchObject([
    { level: 'info', event: 'started', component: 'gateway', port: 8080 },
    { level: 'warn', event: 'slow\nline', component: 'gateway' },
    { level: 'error', event: 'failed', component: 'runner' },
  ]);
  for (const { time } of records) expect(new Date(String(time)).toISOString()).toBe(time);
});

test('goes to standard error, so that standard output stays for results', () => {
  const error = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const output = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  try {
    createLog().info('event');
    expect(error).toHaveBeenCalledOnce();
    expect(output).not.toHaveBeenCalled();
    silentLog.error('event');
    expect(error).toHaveBeenCalledOnce();
  } finally {
    vi.restoreAllMocks();
  }
});

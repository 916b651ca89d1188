import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { readProcessStats } from '../../src/runtime/index.js';
import { parseCpuSeconds, parseRollup } from '../../src/runtime/process-stats.js';

describe('process statistics', () => {
  it('sum what is private and what is shared in proportion (proc_pid_smaps_rollup)', () => {
    const rollup = [
      '563a2c7f6000-7ffd1b3f2000 ---p 00000000 00:00 0                          [rollup]',
      'Rss:               51712 kB',
      'Pss:               20112 kB',
      'Pss_Dirty:         11000 kB',
      'Shared_Clean:      38000 kB',
      'Private_Clean:      1000 kB',
      'Private_Dirty:     12000 kB',
      'Shared_Hugetlb:        0 kB',
      'Private_Hugetlb:    2048 kB',
      '',
    ].join('\n');
    expect(parseRollup(rollup)).toEqual({
      privateBytes: 15_048 * 1024,
      proportionalBytes: 20_112 * 1024,
    });
  });

  it('find user and system ticks behind any command name (proc_pid_stat, fields 14 and 15)', () => {
    const stat = '42 (a b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 150 9 9 20 0 11 0 123456 789';
    expect(parseCpuSeconds(stat)).toBe(4);
  });

  it.skipIf(process.platform !== 'linux')('read this process', async () => {
    const before = await readProcessStats(process.pid);
    const held = Buffer.alloc(64 * 2 ** 20, 1);
    const after = await readProcessStats(process.pid);
    expect(after.cpuSeconds).toBeGreaterThan(0);
    expect((after.privateBytes ?? 0) - (before.privateBytes ?? 0)).toBeGreaterThan(held.length / 2);
    expect(after.proportionalBytes).toBeGreaterThanOrEqual(after.privateBytes ?? Infinity);
  });

  it('have no fields for a process that is gone', async () => {
    const child = spawn(process.execPath, ['-e', '0']);
    await once(child, 'exit');
    expect(await readProcessStats(child.pid ?? 0)).toEqual({});
  });
});

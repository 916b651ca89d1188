import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { float32, int64 } from '../../src/core/index.js';
import { GraphBuilder, writeModel } from '../../src/onnx/index.js';
import { openSession, readProcessStats } from '../../src/runtime/index.js';
import { parseCpuSeconds, parseMappedFiles, parseRollup } from '../../src/runtime/process-stats.js';

const onLinux = process.platform === 'linux';

/** A mapping as /proc/<pid>/smaps shows it. */
const mapping = (path: string, kibibytes: { rss: number; privateClean: number; privateDirty: number }) =>
  [
    `7f304ee00000-7f308be90000 rw-p 00000000 fe:00 2375767                    ${path}`,
    'Size:            1000000 kB',
    'KernelPageSize:        4 kB',
    'MMUPageSize:           4 kB',
    `Rss:             ${kibibytes.rss} kB`,
    'Pss:                 600 kB',
    'Shared_Clean:          0 kB',
    'Shared_Dirty:          0 kB',
    `Private_Clean:      ${kibibytes.privateClean} kB`,
    `Private_Dirty:      ${kibibytes.privateDirty} kB`,
    'VmFlags: rd wr mr mw me ac sd',
  ].join('\n');

describe('process statistics', () => {
  it('sum what is private and what is shared in proportion (proc_pid_smaps_rollup)', () => {
    const rollup = [
      '563a2c7f6000-7ffd1b3f2000 ---p 00000000 00:00 0                          [rollup]',
      'Rss:               51712 kB',
      'Pss:               20112 kB',
      'Pss_Dirty:         11000 kB',
      'Shared_Clean:      38000 kB',
      'Shared_Dirty:        500 kB',
      'Private_Clean:      1000 kB',
      'Private_Dirty:     12000 kB',
      'Shared_Hugetlb:        0 kB',
      'Private_Hugetlb:    2048 kB',
      '',
    ].join('\n');
    expect(parseRollup(rollup)).toEqual({
      privateBytes: 15_048 * 1024,
      sharedBytes: 38_500 * 1024,
      proportionalBytes: 20_112 * 1024,
    });
  });

  it('sum the mapped files of one folder (proc_pid_smaps)', () => {
    const smaps = [
      mapping('/srv/bundle/weights/a.bin', { rss: 700, privateClean: 500, privateDirty: 20 }),
      mapping('/srv/bundle-old/weights/a.bin', { rss: 9_000, privateClean: 9_000, privateDirty: 0 }),
      mapping('/srv/bundle/full.onnx', { rss: 30, privateClean: 4, privateDirty: 0 }),
      mapping('', { rss: 8_000, privateClean: 0, privateDirty: 8_000 }),
    ].join('\n');
    expect(parseMappedFiles(smaps, '/srv/bundle')).toEqual({
      residentBytes: 730 * 1024,
      privateCleanBytes: 504 * 1024,
    });
  });

  it('find user and system ticks behind any command name (proc_pid_stat, fields 14 and 15)', () => {
    const stat = '42 (a b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 150 9 9 20 0 11 0 123456 789';
    expect(parseCpuSeconds(stat)).toBe(4);
  });

  it.runIf(onLinux)('read this process', async () => {
    const before = await readProcessStats(process.pid);
    const held = Buffer.alloc(64 * 2 ** 20, 1);
    const after = await readProcessStats(process.pid);
    expect(after.cpuSeconds).toBeGreaterThan(0);
    expect((after.privateBytes ?? 0) - (before.privateBytes ?? 0)).toBeGreaterThan(held.length / 2);
    expect(after.sharedBytes).toBeGreaterThan(0);
    expect(after.proportionalBytes).toBeGreaterThanOrEqual(after.privateBytes ?? Infinity);
    expect(after.mappedWeightBytes).toBeUndefined();
  });

  it.runIf(onLinux)('count the touched pages of a mapped table as weights, never as private', async () => {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'whittle-stats-')));
    const [rows, width] = [100_000, 64];
    const tableBytes = rows * width * 4;
    const path = join(folder, 'model.onnx');
    const builder = new GraphBuilder();
    const table = builder.initializer(
      'table',
      float32(new Float32Array(rows * width).fill(1), [rows, width]),
    );
    builder.node('Gather', [table, builder.input('row', 'int64', ['rows'])], {}, ['y']);
    builder.output('y', 'float32', ['rows', width]);
    await writeModel(builder.build(), path);
    const session = await openSession(path);
    const stats = () => readProcessStats(process.pid, folder);
    const opened = await stats();
    expect(opened.mappedWeightBytes).toBeLessThan(tableBytes / 4);
    // A row of each page of the first half of the table.
    const touched = BigInt64Array.from({ length: rows / 32 }, (_, place) => BigInt(place * 16));
    await session.run({ row: int64(touched, [touched.length]) });
    const ran = await stats();
    expect(ran.mappedWeightBytes).toBeGreaterThanOrEqual(tableBytes / 2);
    expect((ran.sharedBytes ?? 0) - (opened.sharedBytes ?? 0)).toBeGreaterThan(tableBytes / 4);
    expect((ran.privateBytes ?? 0) - (opened.privateBytes ?? 0)).toBeLessThan(tableBytes / 4);
    await session.release();
    await rm(folder, { recursive: true });
    expect(await readProcessStats(process.pid, join(folder, 'elsewhere'))).toMatchObject({
      mappedWeightBytes: 0,
    });
  });

  it('have no fields for a process that is gone', async () => {
    const child = spawn(process.execPath, ['-e', '0']);
    await once(child, 'exit');
    expect(await readProcessStats(child.pid ?? 0)).toEqual({});
    expect(await readProcessStats(child.pid ?? 0, '/srv')).toEqual({});
  });
});

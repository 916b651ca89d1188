import { readFile } from 'node:fs/promises';

/** What a process costs; a field is absent where the platform does not tell. */
export interface ProcessStats {
  /** Memory that only this process has. */
  readonly privateBytes?: number;
  /** Private memory, and each shared page divided by the number of processes that share it. */
  readonly proportionalBytes?: number;
  /** User and system time since the process started. */
  readonly cpuSeconds?: number;
}

/** Clock ticks a second in /proc, a constant of Linux's interface to programs (USER_HZ). */
const TICKS_PER_SECOND = 100;

/** What `pid` costs, from Linux's /proc; no fields on other platforms or when the process is gone. */
export async function readProcessStats(pid: number): Promise<ProcessStats> {
  const [rollup, stat] = await Promise.all([readProc(pid, 'smaps_rollup'), readProc(pid, 'stat')]);
  return {
    ...(rollup !== undefined && parseRollup(rollup)),
    ...(stat !== undefined && { cpuSeconds: parseCpuSeconds(stat) }),
  };
}

async function readProc(pid: number, file: string): Promise<string | undefined> {
  try {
    return await readFile(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return undefined;
  }
}

/** Sums of /proc/<pid>/smaps_rollup, whose lines are `Name: <n> kB`. */
export function parseRollup(rollup: string): { privateBytes: number; proportionalBytes: number } {
  const bytesOf = (name: string): number => {
    const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(rollup)?.[1] ?? '0';
    return Number(kibibytes) * 1024;
  };
  return {
    privateBytes: bytesOf('Private_Clean') + bytesOf('Private_Dirty') + bytesOf('Private_Hugetlb'),
    proportionalBytes: bytesOf('Pss'),
  };
}

/** Fields 14 and 15 of /proc/<pid>/stat. Field 2 is the command in parentheses and may hold spaces and parentheses. */
export function parseCpuSeconds(stat: string): number {
  const fieldsFromState = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const userTicks = Number(fieldsFromState[14 - 3]);
  const systemTicks = Number(fieldsFromState[15 - 3]);
  return (userTicks + systemTicks) / TICKS_PER_SECOND;
}

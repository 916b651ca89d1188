import { readFile } from 'node:fs/promises';

/** What a process costs; a field is absent where the platform does not tell. */
export interface ProcessStats {
  /** Memory that only this process has; pages of mapped weights are not counted, see `sharedBytes`. */
  readonly privateBytes?: number;
  /**
   * Memory it has in common with others, and mapped weights: they are the file's own pages, which the next process that
   * maps the file shares and the kernel takes back when it needs them.
   */
  readonly sharedBytes?: number;
  /** Private memory, and each shared page divided by the number of processes that share it. */
  readonly proportionalBytes?: number;
  /** Mapped weights that are in memory now; the rest is still on disk only. */
  readonly mappedWeightBytes?: number;
  /** User and system time since the process started. */
  readonly cpuSeconds?: number;
}

/** Clock ticks a second in /proc, a constant of Linux's interface to programs (USER_HZ). */
const TICKS_PER_SECOND = 100;

/**
 * What `pid` costs, from Linux's /proc; no fields on other platforms or when the process is gone.
 * @param weightDirectory folder, without links in its path, whose mapped files are weights; default none are.
 */
export async function readProcessStats(pid: number, weightDirectory?: string): Promise<ProcessStats> {
  const [rollup, stat, maps] = await Promise.all([
    readProc(pid, 'smaps_rollup'),
    readProc(pid, 'stat'),
    weightDirectory === undefined ? '' : readProc(pid, 'smaps'),
  ]);
  return {
    ...(rollup !== undefined && maps !== undefined && memoryOf(rollup, maps, weightDirectory)),
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

function memoryOf(rollup: string, maps: string, weightDirectory: string | undefined): ProcessStats {
  const { privateBytes, sharedBytes, proportionalBytes } = parseRollup(rollup);
  if (weightDirectory === undefined) return { privateBytes, sharedBytes, proportionalBytes };
  const { residentBytes, privateCleanBytes } = parseMappedFiles(maps, weightDirectory);
  return {
    privateBytes: privateBytes - privateCleanBytes,
    sharedBytes: sharedBytes + privateCleanBytes,
    proportionalBytes,
    mappedWeightBytes: residentBytes,
  };
}

/** Value of a line `Name: <n> kB` in bytes; 0 where there is none. */
function bytesOf(text: string, name: string): number {
  const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)?.[1] ?? '0';
  return Number(kibibytes) * 1024;
}

/** Sums of /proc/<pid>/smaps_rollup. */
export function parseRollup(
  rollup: string,
): Required<Pick<ProcessStats, 'privateBytes' | 'sharedBytes' | 'proportionalBytes'>> {
  const sum = (...names: readonly string[]): number =>
    names.reduce((total, name) => total + bytesOf(rollup, name), 0);
  return {
    privateBytes: sum('Private_Clean', 'Private_Dirty', 'Private_Hugetlb'),
    sharedBytes: sum('Shared_Clean', 'Shared_Dirty', 'Shared_Hugetlb'),
    proportionalBytes: sum('Pss'),
  };
}

/** A mapping of /proc/<pid>/smaps is a line that ends with the file's path and about twenty lines `Name: <n> kB`. */
const MAPPING_CHARACTERS = 800;

/** Sums over the mappings of files in `directory`, from /proc/<pid>/smaps. */
export function parseMappedFiles(
  smaps: string,
  directory: string,
): { readonly residentBytes: number; readonly privateCleanBytes: number } {
  const path = ` ${directory}/`;
  let residentBytes = 0;
  let privateCleanBytes = 0;
  for (let at = smaps.indexOf(path); at !== -1; at = smaps.indexOf(path, at + path.length)) {
    const fields = smaps.slice(smaps.indexOf('\n', at), at + path.length + MAPPING_CHARACTERS);
    residentBytes += bytesOf(fields, 'Rss');
    privateCleanBytes += bytesOf(fields, 'Private_Clean');
  }
  return { residentBytes, privateCleanBytes };
}

/** Fields 14 and 15 of /proc/<pid>/stat. Field 2 is the command in parentheses and may hold spaces and parentheses. */
export function parseCpuSeconds(stat: string): number {
  const fieldsFromState = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const userTicks = Number(fieldsFromState[14 - 3]);
  const systemTicks = Number(fieldsFromState[15 - 3]);
  return (userTicks + systemTicks) / TICKS_PER_SECOND;
}

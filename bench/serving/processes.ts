import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Clock ticks a second in /proc, a constant of Linux's interface to programs (USER_HZ). */
const TICKS_PER_SECOND = 100;
const STOP_TIMEOUT_MS = 15_000;

/** A process of this benchmark that said one line of JSON when it was ready. */
export interface Started<Ready> {
  readonly child: ChildProcess;
  readonly ready: Ready;
}

/** Starts a script of the build (path from the repository's root) and waits for its first line, which is JSON. */
export async function startScript<Ready>(
  script: string,
  parameters: readonly string[],
  nodeFlags: readonly string[] = [],
): Promise<Started<Ready>> {
  const path = fileURLToPath(new URL(`../../${script}`, import.meta.url));
  const child = spawn(process.execPath, [...nodeFlags, path, ...parameters], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit').then(([code]): never => {
    throw new Error(`${script} ended with ${String(code)} before it was ready`);
  });
  const [line] = (await Promise.race([once(createInterface({ input: child.stdout }), 'line'), ended])) as [
    string,
  ];
  ended.catch(() => undefined);
  return { child, ready: JSON.parse(line) as Ready };
}

/** Runs a script to its end and answers the JSON that it printed. */
export async function runScript<Result>(script: string, parameters: readonly string[]): Promise<Result> {
  const path = fileURLToPath(new URL(`../../${script}`, import.meta.url));
  const child = spawn(process.execPath, [path, ...parameters], { stdio: ['ignore', 'pipe', 'inherit'] });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${script} ended with ${String(code)}`);
  return JSON.parse(Buffer.concat(chunks).toString()) as Result;
}

/** Ends a process with SIGTERM, and with SIGKILL where that takes too long. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  child.kill('SIGTERM');
  await exited;
  clearTimeout(timer);
}

interface ProcStat {
  readonly pid: number;
  readonly parent: number;
  readonly cpuSeconds: number;
}

/** User and system time of a process and of all that descend from it and live, by process id. */
export function treeCpuSeconds(root: number): ReadonlyMap<number, number> {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readStat(Number(name)) ?? []);
  const tree = new Map<number, number>();
  const add = (pid: number): void => {
    const own = all.find((one) => one.pid === pid);
    if (own === undefined) return;
    tree.set(pid, own.cpuSeconds);
    for (const child of all) if (child.parent === pid) add(child.pid);
  };
  add(root);
  return tree;
}

/** CPU seconds between two readings of processes that live in both. */
export function cpuBetween(before: ReadonlyMap<number, number>, after: ReadonlyMap<number, number>): number {
  let seconds = 0;
  for (const [pid, cpuSeconds] of after) seconds += cpuSeconds - (before.get(pid) ?? cpuSeconds);
  return seconds;
}

function readStat(pid: number): ProcStat | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = Number(fields[14 - 3]) + Number(fields[15 - 3]);
    return { pid, parent: Number(fields[4 - 3]), cpuSeconds: ticks / TICKS_PER_SECOND };
  } catch {
    return undefined;
  }
}

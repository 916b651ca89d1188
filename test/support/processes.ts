import { readdirSync, readFileSync } from 'node:fs';

/** Ids of the processes that this one started and that run (Linux: reads /proc), zombies not counted. */
export function childPids(parent = process.pid): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      const [state, parentPid] = statFields(pid);
      return Number(parentPid) === parent && state !== 'Z';
    });
}

/** Whether a process runs. */
export function isAlive(pid: number): boolean {
  const [state] = statFields(pid);
  return state !== undefined && state !== 'Z';
}

/** State, parent's id and what follows in /proc/<pid>/stat; empty where the process is gone. */
function statFields(pid: number): string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}

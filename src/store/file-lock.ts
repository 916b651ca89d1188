import { link, readFile, rm, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { WhittleError } from '../core/index.js';

/**
 * Makes this process the only writer of a file, by a file `<path>.lock` that names it. The lock of a process that is
 * gone is taken over: a process is its id and, where /proc tells, its start, as ids come again (in a container the
 * server has the same one each time).
 * @returns what gives the lock back.
 * @throws FILE_UNWRITABLE naming the process that holds it; the operating system's error where the folder refuses.
 */
export async function lockFile(path: string): Promise<() => Promise<void>> {
  const lockPath = `${path}.lock`;
  const holder = await take(lockPath);
  if (holder !== undefined && isRunning(holder)) throw locked(path, lockPath, holder);
  if (holder !== undefined) {
    await rm(lockPath, { force: true });
    const winner = await take(lockPath);
    if (winner !== undefined) throw locked(path, lockPath, winner);
  }
  return () => rm(lockPath, { force: true });
}

/** A link appears with its content or not at all. @returns the holder where there is one already. */
async function take(lockPath: string): Promise<string | undefined> {
  const mine = `${lockPath}.${randomUUID()}`;
  await writeFile(mine, identityOf(process.pid), { mode: 0o600 });
  try {
    await link(mine, lockPath);
    return undefined;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown;
    return await readFile(lockPath, 'utf8').catch(() => '');
  } finally {
    await rm(mine, { force: true });
  }
}

/** Process id and, on Linux, its start in clock ticks since boot. */
function identityOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The 22nd field; the second one, a name in brackets, may hold spaces.
    return `${pid} ${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''}`;
  } catch {
    return String(pid);
  }
}

function isRunning(identity: string): boolean {
  const pid = Number(identity.split(' ')[0]);
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return identityOf(pid) === identity;
}

function locked(path: string, lockPath: string, holder: string): WhittleError {
  const pid = Number(holder.split(' ')[0]);
  return new WhittleError('FILE_UNWRITABLE', `${path} is written by process ${pid}; name another file`, {
    path,
    lockPath,
    pid,
    reason: 'locked',
  });
}

import { existsSync } from 'node:fs';
import { copyFile, mkdir, rename } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

/** Admissions hold by content, and tiny bundles are the same bytes each time: a model is tried out once, not in each test. */
const kept = join(tmpdir(), `whittle-test-admissions-${userInfo().username}.json`);

/** Gives a new store what earlier tests' servers found out about the models that they started with. */
export async function lendAdmissions(store: string): Promise<void> {
  await mkdir(store, { recursive: true });
  await copyFile(kept, join(store, 'verified.json')).catch(() => undefined);
}

/** Keeps what a server found out for later tests; nothing where its store could not be written to. */
export async function keepAdmissions(store: string): Promise<void> {
  const record = join(store, 'verified.json');
  if (!existsSync(record)) return;
  const temporary = `${kept}.${process.pid}`;
  await copyFile(record, temporary);
  await rename(temporary, kept);
}

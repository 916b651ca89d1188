import { open, type Database, type RootDatabase } from 'lmdb';
import { AppendLog } from './append-log.js';
import { checkDataFile, makeFolder } from './data-file.js';
import { Histories } from './histories.js';
import { storeFailed } from './store-error.js';
import type { Exposure, StoredEvent } from './types.js';

/** Layout of the databases; a store of another one is refused. */
const LAYOUT = 1;

/** The databases of one store's folder. */
export interface LmdbFiles {
  readonly root: RootDatabase;
  /** Layout, and the bundle whose histories were seeded last. */
  readonly meta: Database<string | number, string>;
  readonly histories: Histories;
  readonly events: AppendLog<StoredEvent>;
  readonly exposures: AppendLog<Exposure>;
}

export interface Limits {
  readonly historyLimit: number;
  readonly maxEvents: number;
  readonly maxExposures: number;
}

function openDatabases(path: string, limits: Limits): LmdbFiles {
  // Without overlappingSync a commit is one only after fdatasync, so that a resolved write is durable.
  // With eventTurnBatching lmdb makes promises that nobody can handle: a full disk would end the process.
  const root = open({ path, noSubdir: false, overlappingSync: false, eventTurnBatching: false, maxDbs: 16 });
  return {
    root,
    meta: root.openDB<string | number, string>('meta', {}),
    histories: new Histories(root, limits.historyLimit),
    events: new AppendLog<StoredEvent>(root, 'events', (event) => event.id, limits.maxEvents),
    exposures: new AppendLog<Exposure>(root, 'exposures', (row) => row.requestId, limits.maxExposures),
  };
}

/** What can be read of a store whose folder takes no writes. */
export interface ReadOnlyFiles {
  readonly root: RootDatabase;
  readonly histories: Histories;
}

/**
 * Opens the histories of a store on a read-only disk, where nothing can be locked or written.
 * @throws STORE_FAILED where they cannot be read, or there are none.
 */
export function openReadOnly(path: string, historyLimit: number): ReadOnlyFiles {
  checkDataFile(path);
  let root: RootDatabase | undefined;
  try {
    root = open({ path, noSubdir: false, readOnly: true, maxDbs: 16 });
    // Before the first write there is no such database, and lmdb gives undefined against its types.
    const layout = (root.openDB<number, string>('meta', {}) as Database<number, string> | undefined)?.get(
      'layout',
    );
    if (layout !== LAYOUT) throw new Error(`its layout is ${String(layout)}, not ${String(LAYOUT)}`);
    return { root, histories: new Histories(root, historyLimit) };
  } catch (cause) {
    root?.close().catch(() => undefined);
    throw storeFailed(path, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

/** Writes the layout, which also proves that the files can be written. */
function checkLayout(path: string, { root, meta }: LmdbFiles): void {
  root.transactionSync(() => {
    const found = meta.get('layout') ?? LAYOUT;
    if (found !== LAYOUT)
      throw storeFailed(path, `it has layout ${String(found)} and this version reads ${String(LAYOUT)}`);
    meta.putSync('layout', LAYOUT);
  });
}

/**
 * Opens the databases in a folder, which is made where it does not exist.
 * @throws STORE_FAILED with the path and the reason.
 */
export function openLmdbFiles(path: string, limits: Limits): LmdbFiles {
  makeFolder(path);
  checkDataFile(path);
  let files: LmdbFiles | undefined;
  try {
    files = openDatabases(path, limits);
    checkLayout(path, files);
    return files;
  } catch (cause) {
    files?.root.close().catch(() => undefined);
    throw storeFailed(path, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

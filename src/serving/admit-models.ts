import { join } from 'node:path';
import { must, sha256, toWhittleError, WhittleError, type VerificationRecord } from '../core/index.js';
import { onnxRuntimeVersion, probeRunner } from '../runtime/index.js';
import type { OpenBundle } from './bundle.js';
import { runnerEntry, runnerMemory, type RunnerOptions } from './runner-options.js';
import { trialsOf, type Trial } from './trials.js';

export interface AdmissionOptions extends Pick<RunnerOptions, 'runners' | 'log'> {
  readonly record: VerificationRecord;
  /** Variants that will be served; default all. */
  readonly variants?: readonly string[] | undefined;
}

/** Raised where a trial comes to ask more of a model, so that earlier admissions no longer count. */
const TRIAL_VERSION = 1;
/** Each trial may take `runners.openMemoryBytes`. */
const TRIALS_AT_ONCE = 2;

/**
 * Tries out every model and index that no earlier start has: it is opened in a runner that is thrown away, under a limit
 * of memory and time, and must answer a small request with finite numbers. What passed is remembered in `record`, by
 * content, ONNX Runtime's version and limits.
 * @throws RUNNER_START_FAILED, MODEL_INVALID, CONTRACT_MISMATCH naming the file, the limit and what to do.
 */
export async function admitModels(bundle: OpenBundle, options: AdmissionOptions): Promise<void> {
  const { record, runners, variants } = options;
  const waiting = trialsOf(bundle, runners.threads, variants)
    .map((trial) => ({ trial, key: admissionKey(bundle, trial, runners) }))
    .filter(({ key }) => !record.isAdmitted(key));
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      await tryOut(bundle, next.trial, options);
      record.admit(next.key);
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: TRIALS_AT_ONCE }, work));
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

async function tryOut(bundle: OpenBundle, trial: Trial, { runners, log }: AdmissionOptions): Promise<void> {
  const { name, file, files, entry, spec, request } = trial;
  try {
    const { responses, peakBytes, elapsedMs } = await probeRunner({
      ...runnerEntry(entry),
      ...runnerMemory(bundle, file, files, runners.openMemoryBytes),
      name,
      spec,
      log,
      timeoutMs: runners.openTimeoutMs,
      requests: [request],
    });
    trial.check(must(responses[0], 'answer of a trial run'));
    log.info('model_admitted', { runner: name, file, peakBytes, elapsedMs: Math.round(elapsedMs) });
  } catch (thrown) {
    throw refusal(join(bundle.directory, file), toWhittleError(thrown));
  }
}

/** Everything that the outcome of a trial depends on, but for the bundle's place. */
function admissionKey(
  { directory, manifest }: OpenBundle,
  { entry, spec, files }: Trial,
  { openMemoryBytes, openTimeoutMs }: RunnerOptions['runners'],
): string {
  const settings = JSON.stringify(spec).replaceAll(JSON.stringify(directory).slice(1, -1), '');
  const hashes = files.map((file) => [file, must(manifest.files[file], file).sha256]);
  const limits = [openMemoryBytes, openTimeoutMs];
  return sha256(JSON.stringify([TRIAL_VERSION, onnxRuntimeVersion(), entry, settings, hashes, limits]));
}

const REMEDIES: Readonly<Record<string, string>> = {
  memory: 'raise runners.openMemoryBytes if it is meant to take that much',
  time: 'raise runners.openTimeoutMs if it is meant to take that long',
};

function refusal(path: string, error: WhittleError): WhittleError {
  const remedy = REMEDIES[String(error.details['limit'])];
  const message = `${path} is not served: ${error.message}${remedy === undefined ? '' : `; ${remedy}`}`;
  const details = { ...error.details, file: path, ...(remedy === undefined ? {} : { remedy }) };
  return new WhittleError(error.code, message, details, error);
}

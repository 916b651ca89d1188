import { basename, resolve } from 'node:path';
import { sha256File, WhittleError, type Contract } from '../../core/index.js';
import type { Answer } from '../../serving/index.js';
import { answerOnce, exampleRequests } from './check-request.js';
import {
  checkNumbers,
  numberedItems,
  readItemTable,
  type ItemTable,
  type ItemTableOptions,
} from './item-table.js';
import { checkPlace, placeWhole } from './place-bundle.js';
import { proposeContract, sourceText, type BoundInput, type UnboundInput } from './propose-contract.js';
import { chooseOutput, readRanker, withDynamicRows } from './ranker-model.js';
import { parseBinds, shapeText, type Supply } from './sources.js';
import { readItemVectors, type ItemVectors } from './vectors-file.js';
import { writeCreated } from './write-created.js';

/** What a bundle is made of. */
export interface CreateOptions extends ItemTableOptions {
  /** Folder of the bundle. */
  readonly out: string;
  readonly name?: string;
  /** Path of the ONNX model. */
  readonly model: string;
  readonly items?: string;
  readonly vectors?: string;
  readonly bind?: readonly string[];
  readonly output?: string;
  readonly metric: 'cosine' | 'dot';
  readonly candidates: number;
}

/** What was made, and how it answered. */
export interface CreatedBundle {
  readonly bundle: string;
  readonly inputs: readonly BoundInput[];
  readonly output: string;
  readonly items: number;
  /** What was changed, left out or looks odd. */
  readonly notes: readonly string[];
  readonly retrievers: readonly string[];
  /** Whether the request was a search or a ranking of given items. */
  readonly endpoint: 'search' | 'rank';
  readonly answer: Answer;
}

/**
 * Makes a bundle of a model and items, and answers one request with it before it takes its place: a failure writes
 * nothing.
 * @throws USAGE_INVALID where something must be said that cannot be inferred; FILE_MISSING, MODEL_INVALID,
 *   GRAPH_UNSUPPORTED, DATASET_INVALID for what the files hold; what the engine throws where the request fails.
 */
export async function createBundle(options: CreateOptions): Promise<CreatedBundle> {
  const directory = resolve(options.out);
  await checkPlace(directory);
  const ranker = await readRanker(options.model);
  const { items, vectors } = await readSupply(options, ranker.inputs);
  const { contract, inputs } = decideContract(options, ranker, items, vectors);
  const batched = await withDynamicRows(ranker);
  const notes = batched.change === undefined ? [] : [batched.change];
  const { metric, candidates, name = basename(directory) } = options;
  const examples = exampleRequests(contract, items, vectors);
  const provenance = await provenanceOf(options);
  const content = { name, items, vectors, metric, candidates, contract, provenance, examples };
  return placeWhole(directory, async (temporary) => {
    const note = (line: string): void => void notes.push(line);
    const manifest = await writeCreated(temporary, { ...content, model: batched.model }, note);
    const answer = await answerOnce(temporary, examples);
    notes.push(...oddities(answer, contract));
    return {
      bundle: options.out,
      inputs,
      output: contract.output,
      items: items.rows,
      notes,
      retrievers: Object.keys(manifest.retrievers),
      endpoint: examples.search === undefined ? 'rank' : 'search',
      answer,
    };
  });
}

async function readSupply(
  options: CreateOptions,
  inputs: Parameters<typeof readItemVectors>[2],
): Promise<{ items: ItemTable; vectors: ItemVectors | undefined }> {
  const table = options.items === undefined ? undefined : await readItemTable(options.items, options);
  const vectors =
    options.vectors === undefined ? undefined : await readItemVectors(options.vectors, table?.rows, inputs);
  const items = table ?? (vectors === undefined ? undefined : numberedItems(vectors.rows));
  if (items !== undefined) return { items, vectors };
  throw new WhittleError('USAGE_INVALID', 'Nothing to rank: give --items, --vectors or both', {
    field: 'items',
    allowed: 'a file of items, a file of vectors, or both',
  });
}

function decideContract(
  { bind = [], output }: CreateOptions,
  ranker: Parameters<typeof chooseOutput>[0],
  items: ItemTable,
  vectors: ItemVectors | undefined,
): { contract: Contract; inputs: readonly BoundInput[] } {
  const supply: Supply = {
    rows: items.rows,
    numberColumns: items.numberColumns,
    retrieves: vectors !== undefined || items.textColumns.length > 0,
    ...(vectors === undefined ? {} : { vectorDimensions: vectors.dimensions }),
  };
  const { bound, unbound } = proposeContract(ranker.inputs, supply, parseBinds(bind));
  if (unbound.length > 0) throw missingSources(unbound);
  for (const { binding } of bound)
    if (binding.source.from === 'column') checkNumbers(items, binding.source.column, binding.name);
  return {
    contract: { inputs: bound.map(({ binding }) => binding), output: chooseOutput(ranker, output) },
    inputs: bound,
  };
}

/** Suggestions shown for an input; more would hide the likely ones. */
const SHOWN = 6;

function missingSources(unbound: readonly UnboundInput[]): WhittleError {
  const lines = unbound.map(({ input, reason, suggestions }) => {
    const binds = suggestions.slice(0, SHOWN).map((source) => `--bind ${input.name}=${source}`);
    const more = suggestions.length > SHOWN ? ['…'] : [];
    return `  ${input.name} ${input.dtype} ${shapeText(input)}: ${reason}. ${[...binds, ...more].join(' or ')}`;
  });
  const what = unbound.length === 1 ? 'One input needs a source' : `${unbound.length} inputs need a source`;
  return new WhittleError('USAGE_INVALID', `${what}:\n${lines.join('\n')}`, {
    field: 'bind',
    inputs: unbound.map(({ input: { name, dtype, rowDims }, reason, suggestions }) => ({
      name,
      dtype,
      dims: ['rows', ...rowDims],
      reason,
      suggestions: suggestions.map((source) => `${name}=${source}`),
    })),
  });
}

async function provenanceOf({ model, items, vectors }: CreateOptions): Promise<Record<string, unknown>> {
  const files = {
    model,
    ...(items === undefined ? {} : { items }),
    ...(vectors === undefined ? {} : { vectors }),
  };
  const entries = Object.entries(files).map(
    async ([role, path]) => [role, { file: basename(path), sha256: await sha256File(path) }] as const,
  );
  return { command: 'bundle create', ...Object.fromEntries(await Promise.all(entries)) };
}

/** What a first answer shows of a wrong contract. */
function oddities({ items, variant }: Answer, { inputs }: Contract): string[] {
  const scores = new Set(items.map(({ score }) => score));
  if (items.length < 2 || scores.size > 1 || variant === 'none') return [];
  const sources = inputs.map(({ name, source }) => `${name} from ${sourceText(source)}`).join(', ');
  return [`every item got the score ${String(items[0]?.score)}: check what feeds the model (${sources})`];
}

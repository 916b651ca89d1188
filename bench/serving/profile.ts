import { readFile } from 'node:fs/promises';

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string };
  readonly children?: readonly number[];
}

/** What V8's sampling profiler writes (`node --cpu-prof`); times in microseconds of the monotonic clock. */
interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  readonly startTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Where a request's time in the gateway goes, by the file that is on the stack; the first rule that fits wins. */
const STAGES: readonly (readonly [stage: string, files: RegExp])[] = [
  ['state', /src\/(serving\/prepare|store\/histories)/],
  ['log', /src\/(store|serving\/recorder|serving\/traffic)|node_modules\/(lmdb|msgpackr|ordered-binary)/],
  ['metrics', /src\/http\/(metrics|fidelity)|node_modules\/prom-client|src\/serving\/observers/],
  ['retrieval', /src\/serving\/retriever/],
  [
    'frame',
    /src\/runtime\/(frame|runner-channel|runner-process|runner-pool|supervisor|rank-batch|tensor-bytes)/,
  ],
  ['queue', /src\/runtime\//],
  ['cut', /src\/(evaluation|serving\/answer)/],
  ['bind', /src\/serving\/(binding|rows-kernel)/],
  ['engine', /src\/(serving|experiments|core)/],
  ['HTTP and JSON', /src\/http|node_modules|node:_http|node:net/],
];
const IDLE = '(idle)';

export type StageShares = ReadonlyMap<string, number>;

/**
 * Shares of the busy time by stage, between two moments of the monotonic clock (µs). What has no file (garbage
 * collection, system calls, Node's own functions) counts for the nearest caller that has one.
 */
export async function stageShares(path: string, fromMicros: number, toMicros: number): Promise<StageShares> {
  const profile = JSON.parse(await readFile(path, 'utf8')) as CpuProfile;
  const stageOf = stagesOfNodes(profile.nodes);
  const micros = new Map<string, number>();
  let at = profile.startTime;
  let busy = 0;
  for (const [place, id] of profile.samples.entries()) {
    const delta = profile.timeDeltas[place] ?? 0;
    at += delta;
    const stage = stageOf.get(id);
    if (at < fromMicros || at > toMicros || stage === undefined || stage === IDLE) continue;
    micros.set(stage, (micros.get(stage) ?? 0) + delta);
    busy += delta;
  }
  return new Map([...micros].map(([stage, time]) => [stage, time / busy]));
}

function stagesOfNodes(nodes: readonly ProfileNode[]): ReadonlyMap<number, string> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const stages = new Map<number, string>();
  const visit = (node: ProfileNode, inherited: string): void => {
    const stage = ownStage(node) ?? inherited;
    stages.set(node.id, stage);
    for (const child of node.children ?? []) {
      const next = byId.get(child);
      if (next !== undefined) visit(next, stage);
    }
  };
  const children = new Set(nodes.flatMap(({ children = [] }) => children));
  for (const node of nodes) if (!children.has(node.id)) visit(node, 'event loop and garbage collection');
  return stages;
}

function ownStage({ callFrame: { functionName, url } }: ProfileNode): string | undefined {
  if (functionName === IDLE) return IDLE;
  return STAGES.find(([, files]) => files.test(url))?.[0];
}

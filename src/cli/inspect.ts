import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Option, type Command } from 'commander';
import {
  adviceCommand,
  GOALS,
  inspectionMarkdown,
  inspectModel,
  type Goal,
  type InspectedTarget,
} from '../compression/index.js';
import { readManifest, WhittleError, type TensorMap } from '../core/index.js';
import { readModel } from '../onnx/index.js';
import { openSession } from '../runtime/index.js';
import { calibrationFeeds } from '../serving/index.js';
import { readCpu } from './inspect/read-cpu.js';
import { createOutput } from './output.js';

interface InspectOptions {
  readonly goal: Goal;
  readonly json?: boolean;
}

/** Of made-up inputs, and of the requests of a bundle's users. */
const SEED = 1;

/** `whittle inspect`: what a model consists of, what compression would save, and which recipes fit. */
export function inspectCommand(program: Command): void {
  program
    .command('inspect')
    .summary('look at a model: where its weights are, what each pass would save, which recipes fit')
    .description(
      'Says what an ONNX model consists of, where its weights and multiply-adds are, what each pass could save (estimated, nothing is compressed), and which recipes fit the model, the goal and this CPU, each with its reason and a command to paste. Of a bundle it looks at the full variant.',
    )
    .argument('<model>', 'ONNX file, or folder of a bundle')
    .addOption(new Option('--goal <goal>', 'what to get better at').choices(GOALS).default('latency'))
    .option('--json', 'print the inspection as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ whittle inspect ranker.onnx\n  $ whittle inspect ranker.onnx --goal mobile --json\n  $ whittle inspect models/demo --goal memory\n',
    )
    .action((path: string, options: InspectOptions) => inspect(path, options));
}

async function inspect(path: string, { goal, json = false }: InspectOptions): Promise<void> {
  const output = createOutput(json);
  const { file, target, feed } = await locate(path);
  const model = await readModel(file);
  const inspection = await inspectModel(model, {
    openSession,
    goal,
    cpu: await readCpu(),
    seed: SEED,
    ...(feed && { feed }),
  });
  const advice = inspection.advice.map((each) => ({ ...each, command: adviceCommand(each, target) }));
  output.result({ model: file, ...inspection, advice }, inspectionMarkdown(inspection, target));
}

interface Located {
  readonly file: string;
  readonly target: InspectedTarget;
  /** Requests of a bundle's users. */
  readonly feed?: TensorMap;
}

async function locate(path: string): Promise<Located> {
  const found = await stat(path).catch((cause: unknown) => {
    throw new WhittleError('FILE_MISSING', `${path} does not exist`, { path }, cause);
  });
  if (!found.isDirectory()) return { file: path, target: { path, kind: 'file' } };
  const { variants } = await readManifest(path);
  const full = variants['full'];
  if (full === undefined)
    throw new WhittleError('NOT_FOUND', `${path} has no ranker: inspect one of its ONNX files`, { path });
  const [feed] = await calibrationFeeds(path, SEED);
  return { file: join(path, full.file), target: { path, kind: 'bundle' }, ...(feed && { feed }) };
}

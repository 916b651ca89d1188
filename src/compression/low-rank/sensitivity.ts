import type { TensorMap } from '../../core/index.js';
import type { Model } from '../../onnx/index.js';
import { runFeeds } from '../calibration/session.js';
import { GraphEdit } from '../graph/graph-edit.js';
import { droppedShare } from '../kernels/low-rank-kernel.js';
import { outputErrors } from '../measure/output-error.js';
import type { Outputs } from '../measure/output-error.js';
import type { PassContext } from '../pass.js';
import type { Spectrum } from './spectrum.js';
import { greatestRank } from './weight-group.js';
import type { WeightGroup } from './weight-group.js';
import { writeFactors } from './write-factors.js';

/** Feeds that outputs are compared on: each weight matrix costs that many runs, twice. */
const MAX_FEEDS = 4;
/** Cut to these shares of the greatest rank, one matrix at a time. */
const PROBED_SHARES = [0.25, 0.5];

/** Measures what the outputs of a model lose when one weight matrix is cut. */
export class SensitivityProbe {
  readonly #model: Model;
  readonly #feeds: readonly TensorMap[];
  readonly #context: PassContext;
  readonly #reference: Outputs;

  private constructor(model: Model, feeds: readonly TensorMap[], context: PassContext, reference: Outputs) {
    this.#model = model;
    this.#feeds = feeds;
    this.#context = context;
    this.#reference = reference;
  }

  /** Runs the model as it is. */
  static async start(
    model: Model,
    feeds: readonly TensorMap[],
    context: PassContext,
  ): Promise<SensitivityProbe> {
    const used = feeds.slice(0, MAX_FEEDS);
    return new SensitivityProbe(model, used, context, await runFeeds(model, used, context.openSession));
  }

  /**
   * Energy of the outputs' error, as a share of theirs, for each share of the matrix's own energy that is dropped: the
   * mean over all outputs and over cuts to a quarter and half of the greatest rank.
   */
  async measure(group: WeightGroup, spectrum: Spectrum): Promise<number> {
    const ratios: number[] = [];
    for (const share of PROBED_SHARES) {
      const rank = Math.max(1, Math.round(share * greatestRank(group)));
      const dropped = droppedShare(spectrum.values, rank) ** 2;
      if (dropped === 0) continue;
      const edit = new GraphEdit(this.#model);
      writeFactors(edit, group, await spectrum.factors(rank));
      const outputs = await runFeeds(edit.build(), this.#feeds, this.#context.openSession);
      const errors = Object.values(outputErrors(this.#reference, outputs));
      ratios.push(mean(errors.map(({ relativeRms = 0 }) => relativeRms ** 2)) / dropped);
    }
    return ratios.length === 0 ? 0 : mean(ratios);
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

import { must, toWhittleError, WhittleError, type ExperimentConfig } from '../../core/index.js';
import {
  mergeExperiments,
  type AdminControl,
  type GatewayReload,
  type GatewayStatus,
} from '../../http/index.js';
import type { ExperimentStatus } from '../../serving/index.js';
import { ANSWER_TIMEOUT_MS, type Gateway, type Gateways } from './gateways.js';

type Change = (channel: Gateway['channel']) => Promise<unknown>;

/** The admin interface's hold on all gateways: a change is made in each, or taken back where one refuses it. */
export class GatewaysControl implements AdminControl {
  readonly #gateways: Gateways;

  constructor(gateways: Gateways) {
    this.#gateways = gateways;
  }

  async gateways(): Promise<readonly GatewayStatus[]> {
    const serving = await Promise.all(
      this.#gateways.serving.map(async ({ pid, restarts, channel }) => {
        const status = await channel
          .call('status', undefined, ANSWER_TIMEOUT_MS)
          .catch((thrown: unknown) => ({
            ready: false,
            reason: toWhittleError(thrown).message,
          }));
        return { pid, restarts, ...status };
      }),
    );
    const absent = this.#gateways.absent.map(({ restarts, reason }) => ({ ready: false, reason, restarts }));
    return [...serving, ...absent];
  }

  async reload(): Promise<readonly GatewayReload[]> {
    const done: GatewayReload[] = [];
    for (const { pid, channel } of this.#serving()) {
      try {
        done.push({ pid, ...(await channel.call('reload', undefined)) });
      } catch (thrown) {
        throw rollStopped(pid, done, thrown);
      }
    }
    return done;
  }

  pipelines(): Promise<readonly string[]> {
    return this.#any().channel.call('pipelines', undefined, ANSWER_TIMEOUT_MS);
  }

  async experiments(): Promise<readonly ExperimentStatus[]> {
    return mergeExperiments((await this.#gateways.gather()).reports);
  }

  experimentConfigs(): readonly ExperimentConfig[] {
    return this.#gateways.inForce.experiments;
  }

  async setExperiments(experiments: readonly ExperimentConfig[]): Promise<void> {
    const { experiments: before } = this.#gateways.inForce;
    const set =
      (configs: readonly ExperimentConfig[]): Change =>
      (channel) =>
        channel.call('setExperiments', configs, ANSWER_TIMEOUT_MS);
    await this.#everywhere(set(experiments), set(before));
    this.#gateways.inForce = { ...this.#gateways.inForce, experiments };
  }

  defaultPipeline(): Promise<string> {
    return this.#any().channel.call('defaultPipeline', undefined, ANSWER_TIMEOUT_MS);
  }

  async setDefaultPipeline(defaultPipeline: string): Promise<void> {
    const before = await this.defaultPipeline();
    const set =
      (name: string): Change =>
      (channel) =>
        channel.call('setDefaultPipeline', name, ANSWER_TIMEOUT_MS);
    await this.#everywhere(set(defaultPipeline), set(before));
    this.#gateways.inForce = { ...this.#gateways.inForce, defaultPipeline };
  }

  /** One that ends meanwhile is passed over: its successor starts with what is in force. */
  async #everywhere(change: Change, undo: Change): Promise<void> {
    const changed: Gateway[] = [];
    for (const gateway of this.#serving()) {
      try {
        await change(gateway.channel);
        changed.push(gateway);
      } catch (thrown) {
        if (!this.#gateways.serving.includes(gateway)) continue;
        await Promise.allSettled(changed.map(({ channel }) => undo(channel)));
        throw thrown;
      }
    }
  }

  #any(): Gateway {
    return must(this.#serving()[0], 'gateway');
  }

  /** @throws NOT_READY where none serves. */
  #serving(): readonly Gateway[] {
    const { serving } = this.#gateways;
    if (serving.length > 0) return serving;
    throw new WhittleError('NOT_READY', 'No gateway serves at the moment');
  }
}

function rollStopped(pid: number, done: readonly GatewayReload[], thrown: unknown): WhittleError {
  const { code, message, details } = toWhittleError(thrown);
  const reloaded = done.map((gateway) => gateway.pid);
  const others =
    reloaded.length === 0
      ? 'none was reloaded'
      : `reloaded before it: ${reloaded.join(', ')}; the others were not`;
  return new WhittleError(
    code,
    `Gateway ${pid}: ${message} (${others})`,
    { ...details, pid, reloaded },
    thrown,
  );
}

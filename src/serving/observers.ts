import type { Observation } from './types.js';

/** Who is told of what happens while serving; bound functions, so that parts can be handed `tell` alone. */
export class Observers {
  readonly #listeners: ((observation: Observation) => void)[] = [];

  add(listener: (observation: Observation) => void): void {
    this.#listeners.push(listener);
  }

  readonly tell = (observation: Observation): void => {
    for (const listener of this.#listeners) listener(observation);
  };
}

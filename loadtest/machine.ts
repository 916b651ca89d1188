import { cpus, loadavg } from 'node:os';
import { must } from '../src/core/index.js';

/** The machine that figures were measured on. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
}

export function describeMachine(): Machine {
  const cores = cpus();
  return {
    cpu: cores[0]?.model.trim() ?? 'unknown CPU',
    cores: cores.length,
    node: process.version,
  };
}

/** Runnable processes over the last minute; 0 on Windows. */
export function loadAverage(): number {
  return must(loadavg()[0], 'load average');
}

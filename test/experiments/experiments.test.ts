import { describe, expect, it } from 'vitest';
import type { ExperimentConfig } from '../../src/core/index.js';
import { assign, createExperiments } from '../../src/experiments/index.js';
import { errorCode } from '../support/error-code.js';

function experiment(name: string, enabled: boolean): ExperimentConfig {
  return {
    name,
    enabled,
    salt: `${name}-salt`,
    arms: [
      { name: 'control', weight: 3, pipeline: 'full' },
      { name: 'small', weight: 1, pipeline: 'int8' },
    ],
  };
}

describe('createExperiments', () => {
  it('assigns users in the first enabled experiment', () => {
    const experiments = createExperiments([
      experiment('off', false),
      experiment('on', true),
      experiment('later', true),
    ]);
    for (let index = 0; index < 200; index++) {
      const user = `u${String(index)}`;
      const arm = assign('on-salt', user, experiment('on', true).arms);
      expect(experiments.assign(user)).toEqual({ experiment: 'on', arm: arm.name, pipeline: arm.pipeline });
    }
  });

  it('assigns nobody where none is enabled', () => {
    expect(createExperiments([experiment('off', false)]).assign('u1')).toBeUndefined();
    expect(createExperiments([]).assign('u1')).toBeUndefined();
  });

  it('counts requests and unique users by arm', () => {
    const experiments = createExperiments([experiment('on', true)]);
    const assignment = { experiment: 'on', arm: 'small', pipeline: 'int8' };
    for (const user of ['a', 'b', 'a', undefined]) experiments.record(assignment, user);
    expect(experiments.report()).toEqual([
      {
        name: 'on',
        enabled: true,
        salt: 'on-salt',
        arms: [
          { name: 'control', weight: 3, share: 0.75, pipeline: 'full', requests: 0, users: 0 },
          { name: 'small', weight: 1, share: 0.25, pipeline: 'int8', requests: 4, users: 2 },
        ],
      },
    ]);
  });

  it('tests whether users split as the weights say', () => {
    const experiments = createExperiments([experiment('on', true)]);
    const record = (arm: string, users: number): void => {
      for (let user = 0; user < users; user++)
        experiments.record({ experiment: 'on', arm, pipeline: '' }, `${arm}${String(user)}`);
    };
    record('control', 310);
    expect(experiments.report()[0]?.sampleRatio?.mismatch).toBe(true);
    record('small', 98);
    expect(experiments.report()[0]?.sampleRatio?.pValue).toBeCloseTo(0.647434186, 9);
  });

  it('refuses repeated names and wrong weights, in experiments that are off too', () => {
    const off = experiment('off', false);
    const repeatedArm = { ...off, arms: [...off.arms, ...off.arms] };
    expect(errorCode(() => createExperiments([off, off]))).toBe('CONFIG_INVALID');
    expect(errorCode(() => createExperiments([repeatedArm]))).toBe('CONFIG_INVALID');
    expect(errorCode(() => createExperiments([{ ...off, arms: [] }]))).toBe('CONFIG_INVALID');
  });
});
